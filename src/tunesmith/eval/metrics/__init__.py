"""Metrics: numbers for answers. Each file declares metrics of one task (`METRICS`); `registry` finds and applies them."""
