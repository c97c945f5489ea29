"""Pages in a real browser: what runs in them, what they load, and what their controls do."""
