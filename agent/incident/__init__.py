"""Incident files: what a session has seen of a run, in one file that is judged again offline."""
