"""Detectors: pure functions from the facts of a look to findings; one cause family a module."""
