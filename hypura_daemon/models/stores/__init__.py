"""Folders of models that others keep, or that pulls have filled: read in place, never written."""
