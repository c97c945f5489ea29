"""What two runs differ in, or one run at two moments: two sides go in, and a document comes out.

`facts` takes a side apart into facts by rank, `standing` and `figures` have those that depend on the
moment, `noise` says which differences every two runs have, and `compare` puts it all together. Pure.
"""
