"""The terminal face: reads the records of a session, live or from a file, and nothing else."""
