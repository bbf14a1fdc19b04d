"""A model's answer parsed into its parts: the markers of its thinking, and how it writes tool calls."""
