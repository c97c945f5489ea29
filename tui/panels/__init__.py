"""Groups of rows that screens are composed of; a panel may appear on several screens."""
