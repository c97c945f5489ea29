"""From the raw answers of one look to its snapshot; pure functions."""
