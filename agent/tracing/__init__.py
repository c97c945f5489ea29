"""Spans of a run: switched on in its ranks, collected, and made into a timeline."""
