"""Answers for a server: requests join and leave a running batch, each with its own adapter, one copy of the weights."""
