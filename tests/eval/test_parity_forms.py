"""Forms of MLX and torchao on their own engines: a clean one is judged by its row, and planted faults are named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from parity_faults import change_config, compared, copied, opened
from safetensors.torch import load_file, save_file

from tunesmith.engines.mlx import PYTHON
from tunesmith.models.load import find_base
from tunesmith.models.merge import merge
from tunesmith.systems.opening import OpenedSystem

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
Write = Callable[[Path, Path], Path]


def in_mlx(folder: Path, out: Path) -> Path:
    """The folder as mlx-lm writes one in whole numbers: the same tensors, and its mark in the header."""
    copied(folder, out)
    save_file(load_file(out / "model.safetensors"), out / "model.safetensors", metadata={"format": "mlx"})
    return out


def in_int8(folder: Path, out: Path) -> Path:
    """The folder with its linear layers in eight bits by torchao."""
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import AutoModelForCausalLM, TorchAoConfig

    how = TorchAoConfig(Int8WeightOnlyConfig())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=how)
    copied(folder, out)
    (out / "model.safetensors").unlink()
    model.save_pretrained(out)
    return out


HAS_MLX = bool(os.environ.get(PYTHON)) or find_spec("mlx_lm") is not None
FORMS = [
    pytest.param(in_mlx, "MLX float32", id="mlx", marks=pytest.mark.skipif(not HAS_MLX, reason="mlx-lm is not installed")),
    pytest.param(
        in_int8,
        "int8 (torchao)",
        id="int8",
        marks=pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed"),
    ),
]


@pytest.fixture(scope="module")
def tuned(tiny_path: Path, trained_adapter: Path) -> Iterator[OpenedSystem]:
    with opened(f"{tiny_path}+{trained_adapter}") as (one,):
        yield one


@pytest.fixture(scope="module")
def parts(tiny_path: Path, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The base, the adapter, and the merged folder."""
    place = tmp_path_factory.mktemp("forms") / "merged"
    merge(find_base(str(tiny_path)), trained_adapter, place)
    return tiny_path, trained_adapter, place


def doubled(base: Path, adapter: Path, out: Path) -> Path:
    """The adapter merged with twice its scale."""
    twice = copied(adapter, out.with_suffix(".adapter"))
    alpha = json.loads((twice / "adapter_config.json").read_text())["lora_alpha"]
    change_config(twice, "adapter_config.json", lora_alpha=2 * alpha)
    merge(find_base(str(base)), twice, out)
    return out


def other_template(merged: Path, out: Path) -> Path:
    copied(merged, out)
    (out / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}\n{% endfor %}")
    return out


Plant = Callable[[Path, Path, Path, Path], Path]
FAULTS: dict[str, Plant] = {
    "adapter not applied": lambda base, adapter, merged, out: base,
    "scale": lambda base, adapter, merged, out: doubled(base, adapter, out),
    "chat template": lambda base, adapter, merged, out: other_template(merged, out),
    "RoPE settings": lambda base, adapter, merged, out: change_config(
        copied(merged, out), rope_parameters={"rope_theta": 100.0, "rope_type": "default"}, rope_theta=100.0
    ),
}


@pytest.mark.parametrize(("write", "form"), FORMS)
def test_a_clean_form_is_judged_by_its_own_row(
    write: Write, form: str, tuned: OpenedSystem, parts: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    report = compared(tuned, write(parts[2], tmp_path / "form"))
    assert report.form == form and report.passed is True, (report.failed, report.missing)
    assert report.apart is not None and report.apart.what == "logits"
    assert report.prompts.tokens_equal is True and report.prompts.template_equal is True


@pytest.mark.parametrize(("write", "form"), FORMS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_in_every_form(
    fault: str, write: Write, form: str, tuned: OpenedSystem, parts: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    wrong = FAULTS[fault](*parts, tmp_path / "wrong")
    report = compared(tuned, write(wrong, tmp_path / "form"))
    assert report.form == form and report.passed is False and report.causes[0].name == fault, report.causes
