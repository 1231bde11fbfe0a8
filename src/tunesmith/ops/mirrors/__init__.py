"""Copies of finished runs in trackers of experiments: each file but three writes to one of them."""
