"""What daemon, worker and clients share: stubs of hypura.v1, error kinds, JSON lines, sizes, durations, locations."""
