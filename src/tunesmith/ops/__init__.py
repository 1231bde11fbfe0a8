"""What is done with many runs: tables and comparisons, mirrors to trackers, sweeps, tools for agents."""
