"""The benchmark: runs under the same conditions, and what they measure."""
