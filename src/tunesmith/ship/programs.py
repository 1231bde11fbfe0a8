"""What people type to run an export in text-generation-webui, LM Studio and Jan: one script for each, next to the GGUF file.

All three run the file through llama.cpp, which takes template and end tokens from the file itself. The scripts set what it does
not hold: context, sampling settings, a name. None of the three programs was run where this was written.

Sources: the list of flags of text-generation-webui; `lms import` and `lms load` at lmstudio.ai/docs/cli; docs/desktop/cli and
data-folder of Jan.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from tunesmith.core.records import canonical_json
from tunesmith.ship.ollama.export import Serving, parameters

__all__ = ["program_scripts", "write_program_scripts"]

_HEAD = """#!/bin/sh
# {program}: {does}
# Made by Tunesmith and not run by it. Template and end tokens are those in the GGUF file.
set -eu
file="$(cd "$(dirname "$0")" && pwd)"/{file}
"""


def program_scripts(name: str, file: str, serving: Serving) -> dict[str, str]:
    """File name → POSIX shell script. `name`: of the model; `file`: the GGUF next to the scripts."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
    drawn = {key.removeprefix("PARAMETER "): value for key, value in parameters(serving.generation)[0]}
    return {
        "text-generation-webui.sh": _webui(file, serving, drawn),
        "lm-studio.sh": _lm_studio(safe, file, serving, drawn),
        "jan.sh": _jan(safe, file, serving, drawn),
    }


def write_program_scripts(folder: Path, name: str, file: str, serving: Serving) -> None:
    """Write the scripts into `folder`, executable."""
    for script, text in program_scripts(name, file, serving).items():
        (folder / script).write_text(text, encoding="utf-8")
        (folder / script).chmod(0o755)


def _head(program: str, does: str, file: str) -> str:
    return _HEAD.format(program=program, does=does, file=shlex.quote(file))


def _webui(file: str, serving: Serving, drawn: Mapping[str, str]) -> str:
    """Run in its folder; it listens on the loopback address unless `--listen` is added. A penalty range of 0 would switch the
    penalty off there, so it is the whole context."""
    flags = [
        '--model-dir "$(dirname "$file")" --model "$(basename "$file")" --loader llama.cpp',
        f"--ctx-size {serving.num_ctx} --api",
        f"--temperature {drawn['temperature']} --top-k {drawn['top_k']} --top-p {drawn['top_p']} --min-p {drawn['min_p']}",
        f"--repetition-penalty {drawn['repeat_penalty']} --repetition-penalty-range {serving.num_ctx}",
    ]
    return (
        _head("text-generation-webui", "run this in its folder", file) + "exec python server.py " + " \\\n  ".join(flags) + "\n"
    )


def _lm_studio(name: str, file: str, serving: Serving, drawn: Mapping[str, str]) -> str:
    lines = [
        'lms import --copy "$file"',
        f"lms load {shlex.quote(Path(file).stem)} --context-length {serving.num_ctx} --identifier {name}",
        "lms server start --port 1234",
    ]
    return _head("LM Studio", "run it once, so that `lms` is installed", file) + _asked(lines, 1234, name, serving, drawn)


def _jan(name: str, file: str, serving: Serving, drawn: Mapping[str, str]) -> str:
    lines = [
        'data="${JAN_DATA_FOLDER:-$HOME/.local/share/Jan/data}"',
        f"place=llamacpp/models/tunesmith/{name}",
        'mkdir -p "$data/$place"',
        'cp "$file" "$data/$place/model.gguf"',
        'cat > "$data/$place/model.yml" <<END',
        "model_path: $place/model.gguf",
        f"name: {name}",
        'size_bytes: $(wc -c < "$file" | tr -d " ")',
        "embedding: false",
        "END",
        f"jan serve tunesmith/{name} --ctx-size {serving.num_ctx} --port 6767 --detach",
    ]
    does = "set JAN_DATA_FOLDER if Settings > General names another folder (macOS: ~/Library/Application Support/Jan/data)"
    return _head("Jan", does, file) + _asked(lines, 6767, name, serving, drawn)


def _asked(lines: list[str], port: int, name: str, serving: Serving, drawn: Mapping[str, str]) -> str:
    """The lines, and a question with the settings of use: these servers take them from each request."""
    turns = [{"role": "system", "content": serving.system}] if serving.system else []
    numbers = {key: float(drawn[key]) for key in ("temperature", "top_k", "top_p", "min_p", "repeat_penalty")}
    body = {"model": name, "messages": [*turns, {"role": "user", "content": "Hello."}], **numbers, "top_k": int(drawn["top_k"])}
    text = shlex.quote(canonical_json(body).decode())
    ask = f"curl http://127.0.0.1:{port}/v1/chat/completions -H 'Content-Type: application/json' -d {text}"
    return "\n".join([*lines, "# The settings of use go with each request:", ask]) + "\n"
