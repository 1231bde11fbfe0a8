"""One file for each format that a tuned model can be exported to."""
