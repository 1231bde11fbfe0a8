"""Releases: model files with their card, recipe, verdict and bill of materials in one folder that proves itself offline."""
