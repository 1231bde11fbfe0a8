"""Weight interpolation: the smallest update that keeps a share of the gain, on the line between base and tuned model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from fakes import train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.core.reporter import SilentReporter
from tunesmith.pipeline.base_defaults import GAIN_KEPT, REAL_BASE, for_base
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.train.interpolation import SCALES, Interpolation, interpolate
from tunesmith.train.loop import Fitted
from tunesmith.train.validation import Validation
from tunesmith.train.weights.weights import Weights

LEARNING = {"max_steps": 12, "evaluate_every": 4, "learning_rate": 1e-2}


def chosen(loss: Callable[[float], float], *, gain_kept: float = 0.9, best_step: int = 5) -> tuple[Interpolation | None, float]:
    """What is chosen where validation loss is this function of the update, which is one number, 2 when it is whole."""
    update = torch.tensor([2.0])

    def measure(count: int, on_done: Any) -> Mapping[str, float]:
        return {"loss": loss(float(update) / 2)}

    weights = cast(Weights, SimpleNamespace(update=lambda: {"B": update}))
    fitted = cast(Fitted, SimpleNamespace(best_step=best_step, best_loss=loss(1.0)))
    validation = Validation(4, measure, lambda on_done: ())
    found = interpolate(weights, fitted, validation, gain_kept=gain_kept, reporter=SilentReporter())
    return found, float(update) / 2


@pytest.mark.parametrize("limit", SCALES)
def test_the_smallest_scale_that_keeps_the_share_is_taken(limit: float) -> None:
    found, left = chosen(lambda scale: 4 - min(1.0, 0.91 * scale / limit) if scale < 1 else 3.0)
    assert found is not None and found.scale == pytest.approx(limit) == pytest.approx(left)
    assert found.kept >= 0.9 - 1e-9 and (found.base_loss, found.whole_loss) == (4.0, 3.0)


@pytest.mark.parametrize(
    "case",
    [
        {"loss": lambda scale: 4 - scale**8, "why": "every smaller update loses more"},
        {"loss": lambda scale: 4 + scale, "why": "nothing was gained"},
        {"loss": lambda scale: 4 - scale, "gain_kept": 1.0, "why": "all is to be kept"},
        {"loss": lambda scale: 4 - scale**0.1, "best_step": 0, "why": "the best step is the base"},
    ],
    ids=lambda case: str(case["why"]),
)
def test_otherwise_the_update_stays_whole(case: dict[str, Any]) -> None:
    how = {name: value for name, value in case.items() if name not in {"loss", "why"}}
    assert chosen(case["loss"], **how) == (None, 1.0)


@pytest.mark.parametrize("kind", ["lora", "rslora"])
def test_the_saved_adapter_is_the_trained_one_with_a_smaller_update(kind: str, tiny_path: Path, tmp_path: Path) -> None:
    whole = train_tiny(tiny_path, tmp_path / "whole", method={"kind": kind}, train=LEARNING)
    scaled = train_tiny(tiny_path, tmp_path / "scaled", method={"kind": kind}, train={**LEARNING, "gain_kept": 0.5})
    assert whole.interpolation is None and scaled.interpolation is not None
    assert scaled.interpolation.kept >= 0.5 and scaled.fitted.best_loss == whole.fitted.best_loss
    a, b = (load_file(tmp_path / name / "out" / "adapter" / "adapter_model.safetensors") for name in ("whole", "scaled"))
    for name, tensor in a.items():
        expected = tensor * scaled.interpolation.scale if "lora_B" in name else tensor
        torch.testing.assert_close(b[name], expected, rtol=1e-6, atol=0)
    page = (tmp_path / "scaled" / "out" / "report.html").read_text(encoding="utf-8")
    assert (
        "of the gain is kept" in page and "of the gain is kept" not in (tmp_path / "whole" / "out" / "report.html").read_text()
    )


@pytest.mark.parametrize("method", [{"kind": "dora"}, {"kind": "full"}, {"init": "pissa"}, {"modules": ["lm_head"]}])
def test_an_update_that_is_no_such_product_is_refused_before_the_first_step(
    method: dict[str, Any], tiny_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"train\.gain_kept cannot scale"):
        train_tiny(tiny_path, tmp_path, method=method, train={"gain_kept": 0.9})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, GAIN_KEPT),
        ({"eval": {"primary": "exact_match"}}, 1.0),
        ({"method": {"kind": "dora"}}, 1.0),
        ({"objective": {"kind": "dpo"}}, 1.0),
        ({"train": {"backend": "mlx"}}, 1.0),
        ({"train": {"gain_kept": 0.8}}, 0.8),
    ],
)
def test_a_real_base_scales_where_the_verdict_is_about_likelihood(data: dict[str, Any], expected: float) -> None:
    recipe = recipe_from({"sources": ["x"], **data}, [])
    assert for_base(recipe, num_parameters=REAL_BASE).train.gain_kept == expected
    assert for_base(recipe, num_parameters=REAL_BASE - 1).train.gain_kept == data.get("train", {}).get("gain_kept", 1.0)
