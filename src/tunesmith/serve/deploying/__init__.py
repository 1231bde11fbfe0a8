"""Files with which other machines run what is served here."""
