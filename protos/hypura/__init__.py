"""What daemon, worker and clients share: the generated stubs of hypura.v1, sizes, durations and locations."""
