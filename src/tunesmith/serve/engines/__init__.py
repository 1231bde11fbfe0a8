"""Engines behind the address: models in this process, servers that we start, servers of others."""
