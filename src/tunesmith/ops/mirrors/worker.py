"""The process that writes to a tracker. Its order is the first line of standard input: payloads of runs, or a metric log to
follow until standard input is closed. How to open the tracker, and what was refused, is the last line of standard output."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import orjson

from tunesmith.ops.mirrors.fence import fenced
from tunesmith.ops.mirrors.following import follow

__all__ = ["main"]


def main() -> None:
    """Write the payloads in order. Whatever the tracker raises ends the process, and its parent reports it."""
    order = orjson.loads(sys.stdin.buffer.readline())
    refused = fenced(order["address"])
    module = importlib.import_module(f"tunesmith.ops.mirrors.{order['to']}")
    if "follow" in order:
        follow(order, module.send, sys.stdin.buffer)
        return
    opened = [module.send(run, Path(order["folder"]), order["name"], order["address"]) for run in order["runs"]]
    done = {"open": opened[-1], "refused": sorted(set(refused))}
    sys.stdout.write(f"\n{orjson.dumps(done).decode()}\n")


if __name__ == "__main__":
    main()
