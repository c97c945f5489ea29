"""From the raw answers of one sample to its snapshot; pure functions."""
