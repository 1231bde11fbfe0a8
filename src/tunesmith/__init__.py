"""Tunesmith: fine-tune a small language model on your own writing, prove that it helped, and run it."""

__version__ = "0.1.0"
__all__ = ["__version__"]
