"""Metrics: numbers for one answer against one reference. `text` needs no model; others are in `eval.likelihood`."""
