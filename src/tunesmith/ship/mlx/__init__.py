"""MLX, Apple's engine: adapters in the files of mlx-lm, and its models asked in this process."""
