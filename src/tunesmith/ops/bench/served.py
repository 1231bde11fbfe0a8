"""`tunesmith serve` as a process that ends with the one that started it, however that ends: its standard input closes then.

python -m tunesmith.ops.bench.served serve run:latest --port 0 --json
"""

from __future__ import annotations

import runpy
import threading

from tunesmith.engines.vllm_server import end_with_parent

__all__: list[str] = []

if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    runpy.run_module("tunesmith.cli", run_name="__main__", alter_sys=True)
