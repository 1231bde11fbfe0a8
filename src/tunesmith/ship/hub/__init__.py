"""Publishing on a Hugging Face hub: what leaves is chosen, validated, searched, listed, sent in one commit, and read back."""
