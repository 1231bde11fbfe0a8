"""Evaluation: metrics, statistics, gates and the report. Needs something that generates; knows nothing of training."""
