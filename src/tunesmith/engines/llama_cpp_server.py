"""The server process of llama.cpp: started as a program of its own by `llama_cpp`, it serves one GGUF file on loopback until
its standard input closes.

    python -m tunesmith.engines.llama_cpp_server '{"file": …, "context": …}'
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

__all__ = ["ADDRESS", "serve"]

ADDRESS = "tunesmith-address "
"""Begins the line of the log that gives the address."""


def serve(settings: dict[str, Any]) -> None:
    """Serve until the parent closes our standard input, which the system does for it if it is killed."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["file"]
    params.n_ctx = settings["context"] * settings["slots"]
    params.n_parallel = settings["slots"]
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.ui = False
    params.offline = True
    params.warmup = False
    params.fit_params = False  # it would shrink the context to what it thinks fits
    params.cache_ram_mib = 0  # prompts of other requests kept in memory would count as the model's
    params.prefill_assistant = False  # it would go on with an answer that ends the conversation
    params.lora_init_without_apply = True
    if settings["threads"]:
        params.cpuparams.n_threads = settings["threads"]
        params.cpuparams_batch.n_threads = settings["threads"]
    if settings["adapters"]:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, scale) for path, scale in settings["adapters"]]
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:  # the reason is in the lines above it
        raise SystemExit(str(error)) from None
    sys.stdout.write(f"\n{ADDRESS}{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # closing the server waits for a thread that may not have begun to listen, and then for ever


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
