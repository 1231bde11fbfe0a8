"""Text itself: bytes to text, words, sentences, blocks, word lists, languages. Knows no rows and no files."""
