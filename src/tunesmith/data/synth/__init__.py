"""Training data written by a language model: asked within a budget, checked by program, labelled as generated to the end."""
