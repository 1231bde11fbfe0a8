"""Sweeps: many runs with other settings, the bad ones stopped early, the best recipe written out."""
