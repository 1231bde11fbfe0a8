"""Tools of a conversation: how a chat template writes calls of them, and how calls are read from what a model writes."""
