"""Blind comparison by people: what is shown, what a vote is, and what votes say. Nothing here knows of a page or a model."""
