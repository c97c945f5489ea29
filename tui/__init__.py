"""The terminal UI: shows the snapshots of a session, live or from a file, and reads nothing else."""
