"""The backend `mlx`: a run whose steps mlx-lm's own trainer makes, on Apple silicon and on Linux CPUs."""
