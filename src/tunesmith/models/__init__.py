"""Weights and tokens: load a base, write its chat format, adapt it, merge it, generate text."""
