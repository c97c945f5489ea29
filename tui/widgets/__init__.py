"""What the views are built of; all drawn line by line."""
