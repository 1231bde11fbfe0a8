"""GGUF files in llama.cpp itself: a clean one passes, and planted faults are named by header, rendering and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from parity_faults import change_config, change_weights, compared, copied, opened

from gguf_files import write_gguf
from tunesmith.models.load import find_base
from tunesmith.models.merge import merge
from tunesmith.systems.opening import OpenedSystem

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install 'tunesmith[llama-cpp]'")

FINAL = "model.norm.weight"


@pytest.fixture(scope="module")
def soft(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with distributions as flat as those of real models."""
    folder = copied(tiny_path, tmp_path_factory.mktemp("soft") / "base")
    return change_weights(folder, lambda tensors: tensors.update({FINAL: tensors[FINAL] / 8}))


@pytest.fixture(scope="module")
def tuned(soft: Path, trained_adapter: Path) -> Iterator[OpenedSystem]:
    with opened(f"{soft}+{trained_adapter}") as (one,):
        yield one


@pytest.fixture(scope="module")
def merged(soft: Path, trained_adapter: Path) -> Path:
    merge(find_base(str(soft)), trained_adapter, soft.parent / "merged")
    return soft.parent / "merged"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))  # where the weights of a GGUF file are opened for a look


def test_a_clean_gguf_passes_by_its_logits(tuned: OpenedSystem, merged: Path, tmp_path: Path) -> None:
    """llama.cpp ends an answer at `</s>` whatever the file declares, and the random model writes that token."""
    report = compared(tuned, write_gguf(merged, tmp_path / "m.gguf", pre="gpt-2"))
    assert report.form == "GGUF F16" and report.apart is not None and report.apart.what == "logits"
    assert report.prompts.tokens_equal is True and report.prompts.template_equal is True
    assert report.answers is not None and not report.answers.unexplained
    assert {cause.name for cause in report.causes} <= {"stop tokens"}, report.failed


FAULTS: dict[str, tuple[str, Callable[[Path, Path, Path], Path]]] = {
    "the base was converted": ("adapter not applied", lambda soft, merged, out: write_gguf(soft, out, pre="gpt-2")),
    "another template": (
        "chat template",
        lambda soft, merged, out: write_gguf(merged, out, pre="gpt-2", template="{{ messages[-1].content }}"),
    ),
    "another base of the rotary frequencies": (
        "RoPE settings",
        lambda soft, merged, out: write_gguf(
            change_config(copied(merged, out.with_suffix("")), rope_parameters={"rope_theta": 100.0}), out, pre="gpt-2"
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_in_a_gguf_is_named(fault: str, tuned: OpenedSystem, soft: Path, merged: Path, tmp_path: Path) -> None:
    cause, plant = FAULTS[fault]
    report = compared(tuned, plant(soft, merged, tmp_path / "m.gguf"))
    assert report.passed is False and report.causes[0].name == cause, report.causes
