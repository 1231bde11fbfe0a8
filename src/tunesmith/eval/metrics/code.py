"""Code: whether an answer passes the item's tests, and pass@k. Off unless asked for, because it executes what a model wrote.

Each answer runs in a Python process of its own with limits (`Limits`): time, memory, processor, an empty folder in which
nothing may be written, no network, no other program, no files outside of Python's own to read, an empty environment. The limits
are those of the operating system (POSIX) and of Python's audit hooks. **This is not a sandbox**: it stops accidents and
careless code, not code that wants to break out. Run answers that you do not trust in a container or a virtual machine.
"""

from __future__ import annotations

import ast
import os
import re
import secrets
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import orjson
import psutil

from tunesmith.eval.metrics import code_process
from tunesmith.eval.metrics.metric import Expected, Metric, Unscored

__all__ = ["METRICS", "Limits", "Outcome", "code_of", "network_namespace", "pass_at_k", "run_tests"]

State = Literal["passed", "failed", "timed_out", "out_of_memory", "refused", "ended_early"]
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one answer may use. `seconds`: wall and processor time. `memory_bytes`: address space of the process (Linux)."""

    seconds: float = 10.0
    memory_bytes: int = 512 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. `refused`: it tried what is not allowed, even if it caught the error. `ended_early`: the process ended
    before the tests did. `detail`: the error, or what was refused."""

    state: State
    detail: str = ""


def code_of(answer: str) -> str:
    """The code of an answer: its Markdown blocks of Python, joined, or the whole text if it has none."""
    blocks = _FENCE.findall(answer)
    return "\n\n".join(blocks) if blocks else answer


def run_tests(code: str, tests: str, limits: Limits | None = None) -> Outcome:
    """Run `code`, then `tests`, in one process with limits. Passed: neither raised, and nothing was refused."""
    limits = limits or Limits()
    token = secrets.token_hex(16)  # known to the process that runs the tests, not to the answer: exiting is not passing
    with tempfile.TemporaryDirectory(prefix="tunesmith-code-") as folder:
        program = Path(folder, "answer.py")
        program.write_text(f"{code}\n\n{tests}\n", encoding="utf-8")
        process = subprocess.Popen(
            [*network_namespace(), sys.executable, "-I", "-B", code_process.__file__, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(orjson.dumps({"token": token, **asdict(limits)}) + b"\n")
            process.stdin.close()
            process.wait(timeout=limits.seconds)
            said = process.stdout.read(10_000)
        except subprocess.TimeoutExpired:
            return Outcome(state="timed_out", detail=f"more than {limits.seconds:g} s")
        except BrokenPipeError:
            return Outcome(state="ended_early", detail="the process ended before it got the tests")
        finally:
            _end(process)
            process.stdout.close()
        return _outcome(said, token, process.returncode)


def _outcome(said: bytes, token: str, code: int) -> Outcome:
    """The last line that the process wrote, if it carries the token."""
    for line in reversed(said.splitlines()):
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, dict) and found.get("token") == token:
            return Outcome(state=found["state"], detail=found["detail"])
    return Outcome(state="ended_early", detail=f"the process ended with status {code} before the tests did")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process with whatever it started."""
    if process.poll() is None:
        try:
            started = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            started = []
        for one in started:
            one.kill()
        process.kill()
        process.wait()


@cache
def network_namespace() -> tuple[str, ...]:
    """The command that starts a program without any network, where the system allows that (Linux); else nothing."""
    if not sys.platform.startswith("linux"):
        return ()
    command = ("unshare", "--user", "--map-root-user", "--net", "--")
    try:
        done = subprocess.run([*command, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if done.returncode == 0 else ()


def pass_at_k(num_answers: int, num_passed: int, k: int) -> float | None:
    """The chance that at least one of `k` answers passes, estimated from `num_passed` of `num_answers`.

    The unbiased estimator 1 − C(n − c, k) / C(n, k) (Chen et al. 2021, "Evaluating Large Language Models Trained on Code",
    § 2.1). None if there are fewer answers than `k`: then it cannot be estimated.
    """
    if num_answers < k or k < 1:
        return None
    missed = 1.0
    for i in range(num_answers - num_passed + 1, num_answers + 1):
        missed *= 1.0 - k / i
    return 1.0 - max(missed, 0.0) if num_answers - num_passed >= k else 1.0


def _passes(answers: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
    return [_passed(answer, one.tests or "") for answer, one in zip(answers, expected, strict=True)]


def _passed(answer: str, tests: str) -> float | Unscored:
    """Unscored where the tests themselves are not Python: no answer could pass them."""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(tests)
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}: {(error.text or '').strip()[:120]}" if isinstance(error, SyntaxError) else ""
        return Unscored(f"the item's tests are not Python: {getattr(error, 'msg', error)}{line}")
    return float(run_tests(code_of(answer), tests).state == "passed")


METRICS = (
    Metric(
        name="code_passes",
        label="tests passed",
        task="code",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures=(
            "Share of answers whose Python code passes the item's tests (pass@1), in a process with limits on time, memory,"
            " files and network. Off unless asked for, because it runs what a model wrote; the limits are not a sandbox."
        ),
        misses="what the tests do not test, and style; code for other languages fails.",
        needs=("tests",),
        score=_passes,
        runs_code=True,
    ),
)
