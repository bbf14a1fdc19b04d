"""Tuning: settings tried in turns with the best so far, and what is better by more than noise."""
