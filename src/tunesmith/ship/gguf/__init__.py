"""Model folders and adapters as GGUF, the format of llama.cpp, Ollama and LM Studio."""

from tunesmith.ship.gguf.file import GgufFile
from tunesmith.ship.gguf.importance import write_importance
from tunesmith.ship.gguf.lora import write_gguf_lora
from tunesmith.ship.gguf.quants import QUANTS, QuantName
from tunesmith.ship.gguf.write import Facts, write_gguf

__all__ = ["QUANTS", "Facts", "GgufFile", "QuantName", "write_gguf", "write_gguf_lora", "write_importance"]
