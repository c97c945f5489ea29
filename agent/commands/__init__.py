"""The commands: one module per command, which parses, calls and prints.

What several of them need, or one of them in length, is in `_support`.
"""
