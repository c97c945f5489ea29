"""What attaching to a cluster could see, and how to fix what it could not."""
