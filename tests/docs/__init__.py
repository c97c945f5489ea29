"""What the manual's tests and `make docs` share: pages, commands, messages and examples."""
