"""Serving: one address with OpenAI's interface for base models, adapters, releases and other servers."""
