"""Suites: sets of questions whose answers a program can check, their scorers, runs, results and contamination."""
