"""Model cards: made from artifacts alone, every number with the file it came from, and checked against them again."""
