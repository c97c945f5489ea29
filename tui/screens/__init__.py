"""The views: each turns what is known into rows."""
