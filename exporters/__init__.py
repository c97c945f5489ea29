"""Metrics, traces and their wire formats; it has no modules yet."""
