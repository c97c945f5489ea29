"""How snapshots read in a terminal; pure functions from records to text."""
