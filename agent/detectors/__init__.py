"""Detectors: pure functions from a sample to detections; one cause family a module."""
