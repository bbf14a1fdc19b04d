"""Folders of models that hypura reads in place: those of other programs, the demo model's, and those of pulls."""
