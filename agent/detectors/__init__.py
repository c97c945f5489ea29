"""Pure functions from what was seen to findings."""
