"""Documents in, datasets out: ingest, passages, split, leak checks, report. Knows no tokenizer and no model."""
