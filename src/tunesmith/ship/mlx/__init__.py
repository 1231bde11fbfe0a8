"""MLX, Apple's engine: its models asked in this process."""
