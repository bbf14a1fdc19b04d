"""Tuning: settings are tried in turns with the best so far; what is faster by more than noise is kept."""
