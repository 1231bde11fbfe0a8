"""Model folders and adapters as GGUF, the format of llama.cpp, Ollama and LM Studio."""

from tunesmith.ship.gguf.file import GgufFile
from tunesmith.ship.gguf.write import OUTTYPES, Facts, Outtype, write_gguf

__all__ = ["OUTTYPES", "Facts", "GgufFile", "Outtype", "write_gguf"]
