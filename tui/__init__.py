"""The terminal face; it has no modules yet."""
