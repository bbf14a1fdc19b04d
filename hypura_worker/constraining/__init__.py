"""What answers must look like, by llguidance."""
