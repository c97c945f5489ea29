"""A demo: a private Ray cluster with a small DeepSpeed job, which leaves nothing behind."""
