"""Scripts for local programs do what they say with fakes of those programs; the container files are pinned and want a token."""

from __future__ import annotations

import json
import os
import py_compile
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tunesmith.ship.ollama.export import Serving
from tunesmith.ship.programs import write_program_scripts

FILES = Path(__file__).parents[2] / "docs/guides/serving"
SERVING = Serving(
    context=512,
    limit=2048,
    generation={"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "repetition_penalty": 1.1},
    system="It's brief.",
)
FAKE = '#!/bin/sh\nprintf "%s\\037" "$(basename "$0")" "$@" >> "$CALLS"\nprintf "\\n" >> "$CALLS"\n'


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """What each script called, program and arguments, where every program is a fake that writes them down."""
    place = tmp_path_factory.mktemp("a folder")
    write_program_scripts(place, "my voice/it's", "model q8_0.gguf", SERVING)
    (place / "model q8_0.gguf").write_bytes(b"GGUF" * 10)
    for program in ("python", "lms", "jan", "curl"):
        (place / "bin").mkdir(exist_ok=True)
        (place / "bin" / program).write_text(FAKE)
        (place / "bin" / program).chmod(0o755)
    found = {}
    for script in sorted(place.glob("*.sh")):
        log = place / f"{script.stem}.log"
        environment = {
            "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(log),
            "JAN_DATA_FOLDER": str(place / "jan data"),
        }
        subprocess.run(["sh", str(script)], cwd=place / "bin", env=environment, check=True)
        found[script.name] = [line.split("\x1f")[:-1] for line in log.read_text().splitlines()]
    [settings] = (place / "jan data").rglob("model.yml")
    found["model.yml"] = [[str(settings.relative_to(place / "jan data")), settings.read_text()]]
    return found


def test_text_generation_webui_is_given_context_and_settings(calls: dict[str, list[list[str]]]) -> None:
    [[program, server, *flags]] = calls["text-generation-webui.sh"]
    assert (program, server) == ("python", "server.py")
    given = {flag: value for flag, value in pairwise(flags) if flag.startswith("--")}
    assert given["--model"] == "model q8_0.gguf" and given["--loader"] == "llama.cpp" and given["--ctx-size"] == "512"
    assert given["--temperature"] == "0.7" and given["--top-k"] == "0" and given["--repetition-penalty"] == "1.1"
    assert given["--repetition-penalty-range"] == "512" and "--listen" not in flags  # loopback unless asked otherwise


def test_lm_studio_and_jan_load_the_file_and_are_asked_with_the_settings(calls: dict[str, list[list[str]]]) -> None:
    assert calls["lm-studio.sh"][1] == ["lms", "load", "model q8_0", "--context-length", "512", "--identifier", "my-voice-it-s"]
    assert calls["jan.sh"][0][:5] == ["jan", "serve", "tunesmith/my-voice-it-s", "--ctx-size", "512"]
    for script in ("lm-studio.sh", "jan.sh"):
        program, address, *_, body = calls[script][-1]
        asked = json.loads(body)
        assert program == "curl" and address.startswith("http://127.0.0.1:")
        assert asked["messages"][0] == {"role": "system", "content": "It's brief."}
        assert (asked["temperature"], asked["top_k"], asked["top_p"], asked["repeat_penalty"]) == (0.7, 0, 0.9, 1.1)
    path, text = calls["model.yml"][0]
    settings = yaml.safe_load(text)
    assert path == "llamacpp/models/tunesmith/my-voice-it-s/model.yml"
    assert settings == {
        "model_path": "llamacpp/models/tunesmith/my-voice-it-s/model.gguf",
        "name": "my-voice-it-s",
        "size_bytes": 40,
        "embedding": False,
    }


INSTRUCTIONS = {"ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "USER", "WORKDIR"}


def faults(dockerfile: str) -> list[str]:
    """What is wrong with a Dockerfile of ours."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.startswith("#")]
    found = [f"unknown: {line}" for line in lines if line.split()[0] not in INSTRUCTIONS]
    if not lines[0].startswith("FROM"):
        found.append("FROM is not first")
    for line in lines:
        if line.startswith("FROM") and not re.fullmatch(r"FROM [\w./-]+:[\w.-]*\d[\w.-]*", line):
            found.append(f"not pinned: {line}")
        if line.startswith("ENTRYPOINT"):
            words = json.loads(line.removeprefix("ENTRYPOINT "))
            if not re.search(r'--api-key "\$\{\w+:\?', words[2]):
                found.append("starts without a token")
            subprocess.run(["sh", "-n", "-c", words[2]], check=True)
    if not any(line.startswith("ENTRYPOINT") for line in lines):
        found.append("no entry point")
    return found


@pytest.mark.parametrize("name", ["llama-cpp.Dockerfile", "vllm.Dockerfile"])
def test_dockerfiles_are_pinned_and_do_not_start_without_a_token(name: str) -> None:
    text = (FILES / name).read_text(encoding="utf-8")
    assert faults(text) == [] and "127.0.0.1:" in text and "Not run by Tunesmith" in text
    assert faults(re.sub(r"(FROM [^:]+):\S+", r"\1:latest", text)) == [f"not pinned: {line}" for line in unpinned(text)]
    assert faults(text.replace("--api-key", "--port 1")) == ["starts without a token"]
    assert faults(text.replace("EXPOSE", "EXPOSES"))[0].startswith("unknown")


def unpinned(text: str) -> list[str]:
    return [re.sub(r":\S+", ":latest", line) for line in text.splitlines() if line.startswith("FROM")]


def test_an_entry_point_without_its_token_ends_before_the_server_starts() -> None:
    for name, variable in (("llama-cpp.Dockerfile", "LLAMA_API_KEY"), ("vllm.Dockerfile", "VLLM_API_KEY")):
        [line] = [line for line in (FILES / name).read_text().splitlines() if line.startswith("ENTRYPOINT")]
        words = json.loads(line.removeprefix("ENTRYPOINT "))
        done = subprocess.run(words, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
        assert done.returncode != 0 and f"set {variable}" in done.stderr


def test_the_modal_app_compiles_and_takes_its_token_from_a_secret(tmp_path: Path) -> None:
    file = FILES / "modal_app.py"
    py_compile.compile(str(file), cfile=str(tmp_path / "app.pyc"), doraise=True)
    text = file.read_text(encoding="utf-8")
    assert re.findall(r'pip_install\("(\S+)"\)', text) == ["vllm==0.32.0"]
    assert 'os.environ["VLLM_API_KEY"]' in text and 'required_keys=["VLLM_API_KEY"]' in text


def test_the_runpod_template_has_keys_of_its_api_a_pin_and_a_secret() -> None:
    template = json.loads((FILES / "runpod-template.json").read_text(encoding="utf-8"))
    kinds: dict[str, type] = {  # of POST /v2/templates
        "args": str, "category": str, "disk": int, "env": dict, "image": str, "mounts": dict, "name": str, "ports": list,
        "public": bool, "registry": str, "serverless": bool, "startJupyter": bool, "startSsh": bool,
    }  # fmt: skip
    assert {"name", "image"} <= template.keys() <= kinds.keys() and template["public"] is False
    assert all(type(value) is kinds[name] for name, value in template.items())
    assert template["image"] == "vllm/vllm-openai:v0.32.0" and template["mounts"]["persistent"]["path"] == "/workspace"
    assert template["env"]["VLLM_API_KEY"] == "{{ RUNPOD_SECRET_vllm_api_key }}"
    command = json.loads(
        template["args"]
    )  # a text of JSON sets both; another one would be the command of the image's own entry
    assert command.keys() == {"entrypoint", "cmd"} and command["entrypoint"] == ["/bin/sh", "-c"]
    assert '--api-key "${VLLM_API_KEY:?' in command["cmd"][0]
    subprocess.run(["sh", "-n", "-c", command["cmd"][0]], check=True)
