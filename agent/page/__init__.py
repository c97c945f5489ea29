"""A report as one HTML page that loads nothing: its text, style, script and data are in it."""
