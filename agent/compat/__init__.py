"""What dsray-inspect knows about the internals of other projects: tables and constants only.

One shelf for each project. A constant's annotation says what the name is used for, where the
installed package must have it, and since or until which version; `tests/compat` looks for all
of them there. The logic that uses a name stays with its user. The shelves are standard library
only, because the code that runs in other processes uses them too.
"""
