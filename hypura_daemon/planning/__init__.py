"""Plans: where a model's tensors go, how it is computed and read, and how fast that is expected to be."""
