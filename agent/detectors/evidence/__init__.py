"""Views of a sample that detectors share; no module here returns findings."""
