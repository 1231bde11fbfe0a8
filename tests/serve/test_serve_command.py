"""`tunesmith serve` as a script starts it: one line when it is ready, answers, an end by SIGTERM that cuts no stream."""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from fakes import make_base
from tunesmith.api.serving import _config, serve
from tunesmith.cli.verbs.serve import _NO_SETTINGS, command
from tunesmith.core.errors import RecipeError, TunesmithError
from tunesmith.pipeline.sections.serve import ServeConfig

COMMAND = [sys.executable, "-m", "tunesmith.cli", "serve"]


@pytest.mark.slow
def test_the_command_says_one_line_answers_and_ends_by_sigterm_with_its_streams_whole(tmp_path: Path) -> None:
    base = make_base(tmp_path / "tiny")
    command = [*COMMAND, f"mine={base}", "--port", "0", "--json", "--project", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready.keys() == {"url", "models", "pid"} and ready["models"] == ["mine"] and ready["pid"] == process.pid
        with openai.OpenAI(base_url=f"{ready['url']}/v1", api_key="none", max_retries=0) as client:
            streams = [
                client.completions.create(
                    model="mine", prompt=f"The lamp {n}", max_tokens=60, temperature=0, stream=True, seed=n
                )
                for n in range(5)
            ]
            first = [next(iter(stream)) for stream in streams]
            os.kill(process.pid, signal.SIGTERM)
            for stream in streams:
                reasons = [chunk.choices[0].finish_reason for chunk in stream]
                assert reasons[-1] in ("stop", "length"), first
        assert process.wait(timeout=60) == 0
        assert process.stdout.read() == ""


def test_a_port_that_is_taken_and_an_open_address_without_a_key_are_said_in_four_parts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for options, what in (
            (["--port", str(taken.getsockname()[1])], "the server cannot listen there: Address already in use"),
            (["--host", "0.0.0.0", "--port", "0"], "other machines could use this address, and there is no key"),
        ):
            done = subprocess.run([*COMMAND, "apprentice", *options], capture_output=True, text=True, check=False)
            assert done.returncode == 1 and what in done.stderr
            assert "expected" in done.stderr and "hint" in done.stderr


def test_every_flag_is_a_setting_of_the_recipe_and_every_setting_but_models_has_a_flag() -> None:
    flags = set(inspect.signature(command).parameters) - set(_NO_SETTINGS)
    assert flags == set(ServeConfig.model_fields) - {"models"}


def test_settings_come_from_the_recipe_unless_a_flag_says_otherwise(tmp_path: Path) -> None:
    recipe = tmp_path / "tunesmith.yaml"
    recipe.write_text("sources: [./posts]\nserve: {models: ['a=./nowhere'], port: 1, rows: 4, pin: [a]}\n")
    found = _config(tmp_path, None, {"port": 0})
    assert (found.models, found.port, found.rows, found.pin) == (["a=./nowhere"], 0, 4, ["a"])
    assert _config(tmp_path / "elsewhere", None, {}).models == ["run:latest"]
    with pytest.raises(RecipeError, match="unknown setting"):
        _config(tmp_path, None, {"prot": 1})
    with pytest.raises(RecipeError, match=r"serve\.precision"):
        serve(project=tmp_path, precision="float8")
    with pytest.raises(TunesmithError, match="nowhere"):
        serve(project=tmp_path, port=0)
    recipe.write_text("sources: [./posts]\nstages: {one: {serve: {port: 1}}, two: {}}\n")
    with pytest.raises(RecipeError, match="one server serves what the chain makes"):
        _config(tmp_path, None, {})
