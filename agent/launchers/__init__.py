"""Who starts runs: one package for each launcher, behind one protocol."""
