"""The models that the daemon knows: their files, names and settings, where they are found, and how they are fetched."""
