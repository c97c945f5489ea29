"""One module per tool: from a sample to an answer that fits its budget."""
