"""The widgets that screens are built of; all of them draw line by line."""
