"""The self-test passes where training keeps its promises, and fails on each fault that is planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import DROPPING_TEMPLATE, NO_END_TEMPLATE, example, examples, make_base
from tunesmith.core.reporter import SilentReporter
from tunesmith.models.load import find_base
from tunesmith.models.packed import model as packed_module
from tunesmith.pipeline import selftest as selftest_module
from tunesmith.pipeline.selftest import Check, selftest
from tunesmith.train import execution as execution_module
from tunesmith.train import loop as loop_module
from tunesmith.train.methods import sft as sft_module

NAMES = ["label audit", "accumulation", "packing, loss", "packing, gradients", "resume", "merge parity"]


def one(name: str, base: Path, place: Path) -> Check:
    """The result of one check."""
    found = selftest(find_base(str(base)), examples(12), folder=place, reporter=SilentReporter(), only=name)
    (check,) = found.checks
    assert found.passed == check.passed
    return check


@pytest.mark.slow
def test_all_checks_pass_and_each_gives_its_number_and_its_tolerance(tiny_path: Path, tmp_path: Path) -> None:
    found = selftest(find_base(str(tiny_path)), examples(12), folder=tmp_path, reporter=SilentReporter())
    assert [check.name for check in found.checks] == NAMES
    assert found.passed, [check for check in found.checks if not check.passed]
    by_name = {check.name: check for check in found.checks}
    assert by_name["resume"].measured == by_name["label audit"].measured == 0
    assert by_name["packing, loss"].tolerance == 1e-5 and 0 < by_name["packing, gradients"].measured <= 1e-4
    assert by_name["accumulation"].measured <= by_name["accumulation"].tolerance == 1e-6
    assert 0 < by_name["merge parity"].measured <= 1e-3
    assert "token trees" in by_name["packing, loss"].text


def test_a_template_without_an_end_token_fails_the_label_audit(tmp_path: Path) -> None:
    check = one("label audit", make_base(tmp_path / "base", template=NO_END_TEMPLATE), tmp_path)
    assert not check.passed and "12 without an end token" in check.text


def test_a_template_that_leaves_out_words_fails_the_label_audit(tmp_path: Path) -> None:
    base = find_base(str(make_base(tmp_path / "base", template=DROPPING_TEMPLATE)))
    rows = [*examples(11), example("q", "<think>half past six</think>It is late.", id="thought")]
    (check,) = selftest(base, rows, folder=tmp_path, reporter=SilentReporter(), only="label audit").checks
    assert not check.passed and check.text == "1 with words that the template changes"


def test_a_mean_of_means_fails_accumulation(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = sft_module.Method.loss
    monkeypatch.setattr(sft_module.Method, "loss", lambda *given: 20 * loss(*given) / given[-1].num_learned)
    check = one("accumulation", tiny_path, tmp_path)
    assert not check.passed and check.measured > 1e-3


def test_positions_that_do_not_restart_on_a_branch_fail_packing(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out = packed_module.lay_out

    def endless(*arguments: Any, **named: Any) -> Any:
        tree = lay_out(*arguments, **named)
        return replace(tree, positions_T=torch.arange(len(tree.positions_T)))

    monkeypatch.setattr(packed_module, "lay_out", endless)
    monkeypatch.setattr(execution_module, "why_not_packed", lambda *_, **__: "")  # training's own guard looks away
    assert not one("packing, loss", tiny_path, tmp_path).passed
    assert not one("packing, gradients", tiny_path, tmp_path).passed


def test_a_resume_that_forgets_the_moments_fails_resume(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "restore_optimizer", lambda *_: None)
    check = one("resume", tiny_path, tmp_path)
    assert not check.passed and "different: out/adapter/adapter_model.safetensors" in check.text


def test_a_merge_with_a_wrong_scale_fails_merge_parity(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = selftest_module.merge

    def careless(base: Any, adapter: Path, out: Path, **settings: Any) -> None:
        merge(base, adapter, out, **settings)
        weights = load_file(out / "model.safetensors")
        name = next(key for key in weights if "q_proj" in key)
        save_file({**weights, name: 1.05 * weights[name]}, out / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(selftest_module, "merge", careless)
    assert not one("merge parity", tiny_path, tmp_path).passed
