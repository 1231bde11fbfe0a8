"""One file for each form of a model that a reference opens."""
