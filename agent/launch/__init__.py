"""A live job as another launcher would start it: command, files, variables, and what differs."""
