"""Quantised folders: written by their tool, opened by their reader, near the merged model; a missing tool is a message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from export_sources import far, source_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fakes import conversation
from tunesmith.core.errors import EngineError, ModelError
from tunesmith.engines import served
from tunesmith.engines.mlx import PYTHON as MLX_PYTHON
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request
from tunesmith.models.load import BaseFolder
from tunesmith.models.mlx_adapter import write_mlx_adapter
from tunesmith.ship import quantised_folder
from tunesmith.ship.calibrated.write import PYTHON, group_size
from tunesmith.ship.format import ExportSource, find_format, format_kinds
from tunesmith.systems import opened as systems_opened
from tunesmith.systems.system import System

CALIBRATOR = os.environ.get(PYTHON, "")
needs = {
    "torchao": pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed"),
    "llm-compressor": pytest.mark.skipif(
        not CALIBRATOR or find_spec("compressed_tensors") is None,
        reason=f"{PYTHON} names no Python with llm-compressor, or compressed-tensors is not installed",
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def source(tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportSource:
    return source_of(tiny, tiny_chat, trained_adapter, tmp_path_factory.mktemp("export") / "merged")


def answered(system: System) -> str:
    request = Request(messages=conversation("Tell me about the kettle."), max_new_tokens=8)
    return system.answer([request], on_done=lambda count: None)[0].text


@needs["torchao"]
def test_int8_weights_are_near_the_merged_model_and_a_spoiled_scale_is_not(source: ExportSource, tmp_path: Path) -> None:
    form = find_format("int8")
    written = form.write(source, tmp_path, "")
    with form.open(source, tmp_path / written.main) as opened:
        kl, top1 = far(source, opened.system)
        assert kl < 1e-2 and top1 > 0.9
        assert answered(opened.system) and opened.form == "int8 (torchao)"
    assert written.numbers["bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "torchao" and "rope_theta" in config
    weights = load_file(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        metadata = opened.metadata()
    spoiled = {name: tensor * 1.5 if name.endswith("_scale") else tensor for name, tensor in weights.items()}
    assert any(name.endswith("_scale") for name in weights)
    save_file(spoiled, tmp_path / "model.safetensors", metadata=metadata)
    with form.open(source, tmp_path) as opened:
        assert far(source, opened.system)[0] > 10 * kl


@needs["llm-compressor"]
@pytest.mark.nightly
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_calibrated_weights_are_near_the_merged_model(method: str, source: ExportSource, tmp_path: Path) -> None:
    form = find_format(method)
    written = form.write(source, tmp_path, "")
    with form.open(source, tmp_path / written.main) as opened:
        kl, top1 = far(source, opened.system)
        assert opened.form == "4 bits (compressed-tensors)"
    assert kl < 0.5 and top1 > 0.7, "four bits on a random model of width 32"
    assert "12 training rows" in written.notes[0] and 4 < written.numbers["bits_per_weight"] < 32


def test_the_group_is_the_largest_that_divides_every_width(source: ExportSource) -> None:
    assert group_size(source) == 32  # widths of 32 and 64


@pytest.mark.parametrize("name", ["int8", "int4", "awq", "gptq", "mlx"])
def test_a_missing_tool_is_a_message_with_the_command(
    name: str, source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised_folder, "find_spec", lambda module: None)
    monkeypatch.setattr(served, "find_spec", lambda module: None)
    monkeypatch.delenv(PYTHON, raising=False)
    with pytest.raises(ModelError) as caught:
        find_format(name).write(source, tmp_path, find_format(name).checked_quant(""))
    assert "pip install" in caught.value.problems[0].hint
    assert not list(tmp_path.iterdir())


_GROUPS = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}
STATED = {
    "int8": {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}},
    "int4": {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}},
    "awq": _GROUPS,
    "gptq": _GROUPS,
}


@pytest.mark.parametrize("name", [*STATED, "mlx", "mlx_lora"])
def test_an_engine_that_is_missing_is_an_error_of_the_engine(
    name: str, source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (systems_opened, served):
        monkeypatch.setattr(place, "find_spec", lambda module: None)
    monkeypatch.delenv(MLX_PYTHON, raising=False)
    folder = tmp_path / "files"
    if name == "mlx_lora":
        write_mlx_adapter(source.adapter, folder, num_layers=2, base="tiny")
    else:
        shutil.copytree(source.merged.path, folder)
        config = {**source.merged.config, "quantization_config": STATED[name]} if name in STATED else source.merged.config
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError) as caught, find_format(name).open(source, folder):
        pass
    assert "pip install" in caught.value.problems[0].hint


def test_int4_says_that_its_kernels_are_missing(source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised_folder, "find_spec", lambda module: None if module == "mslk" else object())
    with pytest.raises(ModelError, match="mslk") as caught:
        find_format("int4").write(source, tmp_path, "")
    assert "NVIDIA GPU" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/nowhere/python", "needs a Python environment of its own"),
        (sys.executable, "llm-compressor could not write gptq weights"),
    ],
)
def test_a_python_without_the_tool_is_a_message(
    python: str, said: str, source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("llmcompressor"):
        pytest.skip("llm-compressor is installed in this Python")
    monkeypatch.setenv(PYTHON, python)
    with pytest.raises(ModelError, match=said) as caught:
        find_format("gptq").write(source, tmp_path, "")
    assert "llmcompressor==0.14.0.1" in caught.value.problems[0].hint


def test_nothing_to_calibrate_on_is_a_message(source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, sys.executable)
    with pytest.raises(ModelError, match="no text to calibrate on"):
        find_format("awq").write(replace(source, rows=()), tmp_path, "")


def test_no_heavy_tool_is_imported_to_list_the_formats() -> None:
    code = (
        "import sys; from tunesmith.ship.format import format_kinds; names = {f.name for f in format_kinds()}\n"
        "assert {'int8', 'int4', 'awq', 'gptq', 'mlx', 'mlx_lora'} <= names\n"
        "sys.exit(any(tool in sys.modules for tool in ('torchao', 'mlx', 'mlx_lm', 'llmcompressor', 'compressed_tensors')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert len({form.order for form in format_kinds()}) == len(format_kinds())


def test_a_folder_that_its_reader_cannot_open_is_a_message(source: ExportSource, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="has no weights"), find_format("int8").open(source, tmp_path):
        pass
