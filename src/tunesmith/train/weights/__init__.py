"""Weights that move in training. `weights` says what a kind is, `kinds` finds one by its name, other files are the kinds."""
