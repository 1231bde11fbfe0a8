"""Which answers were given, what people said of them, and what can be learned from that."""
