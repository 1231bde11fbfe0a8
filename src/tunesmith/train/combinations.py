"""Settings that are sound by themselves and cannot go together: said by the plan, and by the run before it opens the base."""

from __future__ import annotations

from tunesmith.core.errors import TrainingError
from tunesmith.train.method import DEFAULT, Draws, Method, Sampled, method_name
from tunesmith.train.proportional import proportional
from tunesmith.train.settings import AdapterSettings, TrainSettings

__all__ = ["refuse_combination"]

_LEAST_STEPS = 10  # of adalora, whose first tenth moves no ranks


def refuse_combination(objective: Method, method: AdapterSettings, train: TrainSettings, *, num_steps: int) -> None:
    """TrainingError for what would stop a run of `num_steps` steps as it is set."""
    if method.kind == "adalora" and num_steps < _LEAST_STEPS:
        raise TrainingError(
            "method.kind adalora needs steps in which to move ranks",
            value=f"{num_steps} steps",
            expected=f"at least {_LEAST_STEPS}",
            hint=f"--set method.kind=lora, or train for longer: --set train.max_steps={_LEAST_STEPS}",
        )
    if isinstance(objective, Sampled):
        _refuse_draws(objective.draws, method, name=method_name(objective))
    if train.gain_kept < 1 and not (proportional(method) and method_name(objective) == DEFAULT):
        raise TrainingError(
            "train.gain_kept cannot scale the update of this run",
            value=f"objective.kind {method_name(objective)}, method.kind {method.kind}, method.init {method.init}, "
            f"method.modules {method.modules}, method.from {method.continued or 'not set'}",
            expected="objective.kind sft; method.kind lora or rslora, init default or eva, no modules, and no method.from",
            hint="--set train.gain_kept=1",
        )
    if train.optimizer_states == "disk" and train.optimizer != "adamw":
        raise TrainingError(
            "train.optimizer_states disk is for adamw",
            value=f"train.optimizer {train.optimizer}",
            expected="train.optimizer adamw, whose states of one tensor need no other tensor",
            hint="--set train.optimizer_states=memory, or --set train.optimizer=adamw",
        )
    if train.ewc and not _holdable(method):
        raise TrainingError(
            "train.ewc cannot hold weights of this kind",
            value=f"method.kind {method.kind}, method.init {method.init}, method.modules {method.modules}",
            expected="method.kind lora or rslora with method.init default and no modules, or method.kind full",
            hint="--set method.kind=lora, or --set train.ewc=0 with --set mix.own_answers=true",
        )


def _refuse_draws(draws: Draws, method: AdapterSettings, *, name: str) -> None:
    if draws.updates > 1 and method.kind != "full" and method.dropout:
        raise TrainingError(
            "several updates on the same answers need an adapter without dropout",
            value=f"objective.updates {draws.updates}, method.dropout {method.dropout:g}",
            expected="method.dropout 0: the first update must compute the same probabilities as the sampling did",
            hint="--set method.dropout=0, or --set objective.updates=1",
        )
    if draws.needs_base and method.kind == "full":
        raise TrainingError(
            f"objective.kind {name} needs the base while the model is trained, and a full fine-tune has none",
            value="method.kind full",
            expected="an adapter, which can be switched off",
            hint="--set method.kind=lora",
        )


def _holdable(method: AdapterSettings) -> bool:
    """Whether these weights can say how far they are from the base."""
    if method.kind == "full":
        return True
    return method.kind in ("lora", "rslora") and method.init == "default" and not method.modules
