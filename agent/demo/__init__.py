"""A job to look at: a Ray cluster of its own, a small DeepSpeed training, gone without a trace."""
