"""Four-bit weights calibrated on training rows, by llm-compressor in a Python of its own."""
