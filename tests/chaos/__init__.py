"""Faults injected into a running daemon under load: make chaos."""
