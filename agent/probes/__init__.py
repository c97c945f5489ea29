"""Code that records inside training processes: standard library only."""
