"""Learning rates: each schedule is the one that torch or transformers has under the same name."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler
from transformers.optimization import get_wsd_schedule

from tunesmith.pipeline.sections.run import TrainConfig
from tunesmith.train.schedule import SCHEDULES, Schedule, learning_rate

STEPS = 40


def rates(
    schedule: Schedule, *, warmup: float = 0.0, floor: float = 0.1, decay: float = 0.2, steps: int = STEPS
) -> list[float]:
    every = range(steps)
    return [
        learning_rate(s, num_steps=steps, peak=2.0, warmup=warmup, schedule=schedule, floor=floor, decay=decay) for s in every
    ]


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)


def followed(scheduler: lr_scheduler.LRScheduler, steps: int = STEPS) -> list[float]:
    """The rates that a scheduler of torch's gives in turn."""
    given = []
    for _ in range(steps):
        given.append(scheduler.optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing was stepped
            scheduler.step()
    return given


@pytest.mark.parametrize("floor", [0.0, 0.1, 0.5])
def test_the_cosine_and_the_line_are_those_of_torch(floor: float) -> None:
    cosine = lr_scheduler.CosineAnnealingLR(optimizer(), T_max=STEPS, eta_min=2.0 * floor)
    assert rates("cosine", floor=floor) == pytest.approx(followed(cosine))
    line = lr_scheduler.LinearLR(optimizer(), start_factor=1.0, end_factor=floor, total_iters=STEPS)
    assert rates("linear", floor=floor) == pytest.approx(followed(line))


@pytest.mark.parametrize("warmup", [0.1, 0.3])
@pytest.mark.parametrize("floor", [0.05, 0.1])
def test_one_cycle_is_that_of_torch(warmup: float, floor: float) -> None:
    cycle = lr_scheduler.OneCycleLR(
        optimizer(), 2.0, total_steps=STEPS, pct_start=warmup, cycle_momentum=False, final_div_factor=1 / (25 * floor)
    )
    expected = [*followed(cycle, STEPS - 1), cycle.get_last_lr()[0]]
    assert rates("one_cycle", warmup=warmup, floor=floor) == pytest.approx(expected)


@pytest.mark.parametrize(("decay", "floor"), [(0.2, 0.1), (0.5, 0.0)])
def test_warm_up_stable_decay_is_that_of_transformers(decay: float, floor: float) -> None:
    made = get_wsd_schedule(
        optimizer(),
        num_warmup_steps=0,
        num_decay_steps=round(decay * STEPS),
        num_training_steps=STEPS,
        decay_type="1-sqrt",
        min_lr_ratio=floor,
    )
    assert rates("wsd", decay=decay, floor=floor) == pytest.approx(followed(made))


def test_a_schedule_that_is_another_one_would_be_noticed() -> None:
    cosine = lr_scheduler.CosineAnnealingLR(optimizer(), T_max=STEPS, eta_min=0.2)
    assert rates("linear") != pytest.approx(followed(cosine), rel=0.01)


@given(st.integers(1, 400), st.floats(0, 0.99), st.sampled_from(SCHEDULES), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_rate_rises_to_its_peak_and_never_leaves_its_bounds(
    steps: int, warmup: float, schedule: Schedule, floor: float, decay: float
) -> None:
    found = rates(schedule, warmup=warmup, floor=floor, decay=decay, steps=steps)
    assert all(0 < rate <= 2.0 and math.isfinite(rate) for rate in found)
    if schedule == "one_cycle":
        return
    rise = round(warmup * steps)
    assert found[:rise] == sorted(found[:rise]) and found[rise:] == sorted(found[rise:], reverse=True)
    if rise < steps:
        assert found[rise] == 2.0
    assert min(found[rise:], default=2.0) >= 2.0 * floor - 1e-12


def test_the_cosine_ends_near_its_floor_and_the_constant_stays() -> None:
    assert learning_rate(999, num_steps=1000, peak=1.0, warmup=0.1, schedule="cosine") == pytest.approx(0.1, abs=1e-4)
    assert learning_rate(999, num_steps=1000, peak=1.0, warmup=0.1, schedule="constant") == 1.0
    assert learning_rate(0, num_steps=1, peak=1.0, warmup=0.0, schedule="cosine") == 1.0


def test_the_recipe_has_every_schedule_and_no_other() -> None:
    for schedule in SCHEDULES:
        assert TrainConfig(schedule=schedule).schedule == schedule
    with pytest.raises(ValueError, match="cosine"):
        TrainConfig.model_validate({"schedule": "polynomial"})
