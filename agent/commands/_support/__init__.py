"""What the commands are made of; no module in here is a command."""
