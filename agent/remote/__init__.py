"""Code that runs inside other processes: standard library only, shipped by value."""
