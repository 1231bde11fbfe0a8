"""The process that writes to a tracker: payloads on standard input; how to open it, and what was refused, in the last line of
standard output."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import orjson

from tunesmith.ops.mirrors.fence import fenced

__all__ = ["main"]


def main() -> None:
    """Write the payloads in order. Whatever the tracker raises ends the process, and its parent reports it."""
    order = orjson.loads(sys.stdin.buffer.read())
    refused = fenced(order["address"])
    module = importlib.import_module(f"tunesmith.ops.mirrors.{order['to']}")
    opened = [module.send(run, Path(order["folder"]), order["name"], order["address"]) for run in order["runs"]]
    done = {"open": opened[-1], "refused": sorted(set(refused))}
    sys.stdout.write(f"\n{orjson.dumps(done).decode()}\n")


if __name__ == "__main__":
    main()
