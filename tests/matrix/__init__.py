"""One scenario on a real cluster for each combination of versions: `python -m tests.matrix`."""
