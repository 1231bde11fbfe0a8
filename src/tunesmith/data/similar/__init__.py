"""Copies and near copies among texts: found by MinHash, proved by exact Jaccard, the same whatever the order or the workers."""
