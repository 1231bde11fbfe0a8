"""Weights and tokens: load a base, speak its chat format, adapt it, merge it, let it generate."""
