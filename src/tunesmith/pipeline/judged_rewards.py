"""Reward models that a recipe uses as rewards: what their own evaluations said, before anything learns from them."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.artifacts import Artifact, Store, folder_of
from tunesmith.core.errors import BlockedError
from tunesmith.core.files import verify
from tunesmith.core.reporter import Reporter
from tunesmith.pipeline.blocking import UNFIT_REWARD
from tunesmith.pipeline.finished import FinishedRun
from tunesmith.pipeline.plan_lines import Line
from tunesmith.train.method import Method, Sampled

__all__ = ["judged_rewards"]


def judged_rewards(objective: Method, *, allow: list[str], reporter: Reporter) -> tuple[Line, ...]:
    """A line of the plan for each reward model, with a warning for one whose verdict is not SHIP, or that has none.

    BlockedError for one whose verdict is DON'T SHIP, unless `allow` names it or its weight is 0, so that nothing learns from
    it. Rewards that are no run are refused elsewhere.
    """
    rewards = objective.rewards if isinstance(objective, Sampled) else ()
    taught: dict[Path, bool] = {}
    for reward in rewards:
        if reward.reward_model:
            folder = Path(reward.reward_model).expanduser().resolve()
            taught[folder] = taught.get(folder, False) or bool(reward.weight)
    return tuple(_line(folder, allow if learned else [*allow, UNFIT_REWARD], reporter) for folder, learned in taught.items())


def _line(folder: Path, allow: list[str], reporter: Reporter) -> Line:
    judged = _evaluation(folder)
    name = f"reward model {folder.name[:8]}"
    if judged is None:
        reporter.warn(f"the {name} was never judged: nothing says that the better answer has the higher score")
        return Line("reward", f"{name}: not judged", "tunesmith run with its recipe judges it on held-out pairs")
    verdict, share = str(judged.numbers["verdict"]), judged.numbers["accuracy"]["share"]
    pairs = f"{judged.numbers['pairs']} held-out pairs"
    found = "no held-out pair was scored" if share is None else f"right on {share:.0%} of {pairs}"
    if verdict == "SHIP":
        return Line("reward", f"{name}: SHIP", found)
    if verdict == "DON'T SHIP" and UNFIT_REWARD not in allow:
        raise BlockedError(
            "a reward model that was found unfit would teach what it gets wrong",
            name=UNFIT_REWARD,
            value=f"{folder}: DON'T SHIP, {found}",
            expected="a reward model whose verdict is SHIP",
            hint=f"train it on more pairs, or take another reward, or continue with --allow {UNFIT_REWARD}",
        )
    reporter.warn(f"the verdict on the {name} is {verdict}: {found}. Answers may learn what it gets wrong")
    return Line("reward", f"{name}: {verdict}", found)


def _evaluation(folder: Path) -> Artifact | None:
    """The newest evaluation of the run in a folder, in the project in which it was trained; None without any."""
    manifest = verify(folder)
    if manifest is None or folder.parent.name != folder_of("run"):
        return None
    return FinishedRun(Store(folder.parent.parent, marks=False), Artifact(folder, manifest)).made_from_it("agreement")
