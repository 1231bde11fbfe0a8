"""Making answers: many requests share the slots of one key-value cache, with the adapter on or off row by row."""
