"""Metrics: numbers for one answer against one reference. `text` needs no model; what needs one stands in `eval.likelihood`."""
