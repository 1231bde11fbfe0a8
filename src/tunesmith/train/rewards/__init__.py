"""Rewards: numbers for answers that a model is trained towards. `open` makes them from the recipe; each kind is a file."""
