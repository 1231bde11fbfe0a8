"""Arithmetic before anything runs: sizes, memory, steps, time, each with its reason. Imports no torch."""
