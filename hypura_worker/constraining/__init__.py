"""Answers that keep to a format, by llguidance."""
