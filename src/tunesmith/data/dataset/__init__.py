"""From documents and examples to a dataset: passages, mixtures, splits, leaks between them, the golden set, the report."""
