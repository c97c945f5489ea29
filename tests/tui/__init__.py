"""The terminal UI, on windows made from snapshots that were recorded from real jobs."""
