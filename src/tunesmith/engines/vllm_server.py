"""The process in which vLLM serves: a script for the Python that has vLLM, started by `vllm`. It needs nothing of Tunesmith.

vLLM's own options follow on the command line. It ends, with the processes that vLLM starts, when its standard input closes,
which the system does if its parent is killed.
"""

import os
import runpy
import sys
import threading

__all__ = ["end_with_parent"]

_MODULE = "vllm.entrypoints.openai.api_server"


def end_with_parent() -> None:
    """Wait for the end of standard input, then end everything. Without a buffer: vLLM forks, and would copy its lock."""
    import psutil  # vLLM brings it

    while os.read(0, 4096):
        continue
    for process in psutil.Process().children(recursive=True):
        process.kill()
    os._exit(1)


if __name__ == "__main__":
    sys.path.pop(0)  # our own folder, in which `vllm` would be vllm.py
    threading.Thread(target=end_with_parent, daemon=True).start()
    runpy.run_module(_MODULE, run_name="__main__", alter_sys=True)
