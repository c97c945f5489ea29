"""Stacks: read them, name their layers and phases, merge those of equal ranks."""
