"""The process that runs one answer with its tests under limits; started by `eval.metrics.code` as a program, never imported
for its effect.

Standard library only. It reads the limits and a token from standard input, and writes one line of JSON with the token.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any

__all__ = ["main"]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED = (
    *("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "ctypes.", "shutil."),
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.kill", "os.utime", "tempfile.", "webbrowser.", "winreg.", "resource.", "mmap.", "syslog.", "sys.addaudithook"),
)


def main(program: str) -> None:
    """Run the program file under the limits that standard input names, and report how it ended."""
    given = json.loads(sys.stdin.readline())
    report = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    _limit(given["memory_bytes"], given["seconds"])
    refused = _guard(os.path.dirname(os.path.realpath(program)))
    state, detail = _run(program)
    if refused:
        state, detail = "refused", refused[0]
    os.write(report, json.dumps({"token": given["token"], "state": state, "detail": detail[:300]}).encode() + b"\n")
    os._exit(0)  # no exit handlers, no waiting for threads of the answer


def _run(program: str) -> tuple[str, str]:
    try:
        runpy.run_path(program, run_name="__main__")
    except MemoryError:
        return "out_of_memory", "more memory than allowed"
    except SystemExit:
        return "ended_early", "the answer called exit"
    except BaseException as error:  # noqa: BLE001 (whatever the answer raises is its result)
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""


def _limit(memory_bytes: int, seconds: float) -> None:
    """The limits of the operating system. Windows has none of them; there time and the guard are all."""
    try:
        import resource
    except ImportError:
        return
    wanted = {
        "RLIMIT_CPU": int(seconds) + 1,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_AS": memory_bytes,
    }
    for name, value in wanted.items():
        limit = getattr(resource, name, None)
        if limit is not None:
            hard = resource.getrlimit(limit)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (value, value))


def _guard(folder: str) -> list[str]:
    """Refuse what an answer has no business doing, from here to the end of the process; the list collects what was refused.

    Files may be read below Python's own folders and `folder`, and no file may be written.
    """
    readable = tuple(
        os.path.realpath(path) + os.sep
        for path in {sys.prefix, sys.base_prefix, sys.exec_prefix, folder, *filter(None, sys.path)}
    )
    refused: list[str] = []

    def refuse(what: str) -> None:
        refused.append(what)
        raise PermissionError(f"not allowed here: {what}")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = (*args, None, None, None)[:3]
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITES):
                refuse(f"writing {path}")
            if isinstance(path, str | bytes):
                read(path)
        elif event in ("os.listdir", "os.scandir"):
            read("." if args[0] is None else args[0])
        elif event == "import" and args[0] in ("_ctypes", "_cffi_backend"):
            raise ImportError(f"{args[0]} is not available here")  # a library that can do without goes on without it
        elif event.startswith(_REFUSED):
            refuse(f"{event} {str(args)[:100]}")

    def read(path: str | bytes | int) -> None:
        if not isinstance(path, int) and not (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(readable):
            refuse(f"reading {os.fsdecode(path)}")

    sys.addaudithook(hook)
    return refused


if __name__ == "__main__":
    main(sys.argv[1])
