"""What `tunesmith serve` costs and gives, over real HTTP, against a mock backend, LiteLLM's proxy and llama.cpp.

python benchmarks/bench_serve.py overhead [--litellm PYTHON] [--rounds 8]      added latency, sequential and at 100 requests/s
python benchmarks/bench_serve.py clients [--litellm PYTHON] [--clients 500]    requests/s of many clients
python benchmarks/bench_serve.py adapters --base smollm2 [--gguf FILE|f16]     tokens/s, base and 8 adapters in one batch
python benchmarks/bench_serve.py prefix --base smollm2                         time to first token with a long system prompt
python benchmarks/bench_serve.py speculative --base smollm2 [--draft MODEL]    tokens per processor second, guessed or not

`adapters --gguf` also asks llama.cpp, with as many threads (`--threads`) and slots. FILE is the base as F16, or `f16`: then
it is written first.
"""

from __future__ import annotations

import argparse
import asyncio
import os

from serve_engine import adapters, prefix
from serve_gateways import many_clients, mock, overhead
from serve_speculative import speculative


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["mock", "overhead", "clients", "adapters", "prefix", "speculative"])
    parser.add_argument("--litellm", default="")
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--gguf", default="")
    parser.add_argument("--draft", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.what == "mock":
        asyncio.run(mock(arguments.port))
        return
    asked = {"overhead": overhead, "clients": many_clients, "adapters": adapters, "prefix": prefix, "speculative": speculative}
    asked[arguments.what](arguments)


if __name__ == "__main__":
    main()
