"""One sample of a run: who is asked, in which order, and what each of them said."""
