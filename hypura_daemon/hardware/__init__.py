"""The machine: what the operating system says of it, and what is measured of its memory, GPUs and drives."""
