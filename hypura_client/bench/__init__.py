"""The benchmark: runs that can be compared, and what they show."""
