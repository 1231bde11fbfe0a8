"""A reward model goes through the pipeline: trained, judged by held-out pairs, and refused where answers are needed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from fakes import Told, conversation, train_tiny
from tunesmith.api.merging import merge_adapters
from tunesmith.api.pipeline import follow
from tunesmith.api.recipes import recipe_from
from tunesmith.api.scoring import open_reward_model
from tunesmith.api.verdicts import verdict, verify
from tunesmith.core.errors import EvaluationError, ModelError, TrainingError
from tunesmith.core.records import Message, Preference, to_json
from tunesmith.core.reporter import StageDone, VerdictReached
from tunesmith.eval.agreement import AgreementEvidence, ScoredPair, judge_agreement, length_rule
from tunesmith.models.tuned import open_tuned, tuned_folder
from tunesmith.pipeline import agreeing
from tunesmith.pipeline.chain import Chain
from tunesmith.pipeline.cross_fitting import cross_fit
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.pipeline.verifying import verify_verdict
from tunesmith.train.methods.ppo import Values
from tunesmith.train.rewards.opening import open_rewards
from tunesmith.train.rewards.settings import RewardConfig
from tunesmith.train.scorer import Scorer, open_scorer, scorer_of_run

WORDS = ("stone", "river", "lamp", "cloud", "apple", "wheel", "paper", "glass", "chair", "table", "north", "south")
QUICK = {"max_steps": 18, "batch_examples": 8, "evaluate_every": 18, "learning_rate": 0.01, "precision": "float32"}


def planted(count: int, *, shuffled: bool = False) -> list[Preference]:
    """Pairs of random words; the word `gold` stands somewhere in the preferred answer, and nothing else tells it."""
    made = []
    for n in range(count):
        draw = random.Random(n)
        plain, marked = ([draw.choice(WORDS) for _ in range(5)] for _ in range(2))
        marked[draw.randrange(5)] = "gold"
        said = [" ".join(marked), " ".join(plain)]
        if shuffled and draw.random() < 0.5:
            said.reverse()
        about: dict[str, Any] = {"document_id": f"d{n}", "group": f"d{n}", "source": "made.md"}
        asked = conversation(f"Say something about number {n}.")
        made.append(Preference(id=f"p{n:03d}", prompt=asked, chosen=said[0], rejected=said[1], **about))
    return made


def project(base: Path, root: Path, rows: list[Preference], *overrides: str, told: Told | None = None) -> Project:
    (root / "rows.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    recipe: dict[str, Any] = {"base": str(base), "sources": [str(root / "rows.jsonl")], "objective": {"kind": "reward"}}
    recipe |= {"method": {"rank": 4, "alpha": 8.0}, "split": {"val": 0.15, "test": 0.35}, "build": {"dedup": 0}, "train": QUICK}
    return Project(recipe_from(recipe, overrides), root, reporter=told or Told(), offline=True)


@pytest.fixture(scope="module")
def judged(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Told]:
    """A whole run on a planted preference."""
    told = Told()
    made = project(tiny_path, tmp_path_factory.mktemp("reward"), planted(96), told=told)
    follow(made)
    return made, told


def test_a_planted_preference_ends_in_ship_with_an_interval_and_a_page(judged: tuple[Project, Told]) -> None:
    made, told = judged
    outcome = made.outcome
    assert outcome.verdict.verdict == "SHIP" and [gate.state for gate in outcome.verdict.gates] == ["pass", "pass"]
    numbers = outcome.evaluation.numbers
    assert numbers["accuracy"]["share"] >= 0.9 and numbers["accuracy"]["ci"][0] > 0.5
    page = (outcome.evaluation.path / "report.html").read_text()
    assert "held-out pairs" in page and "nothing was generated, merged or exported" in page
    done = [event.kind for event in told.events if isinstance(event, StageDone)]
    assert done == ["documents", "dataset", "run", "agreement"]
    assert next(event.verdict for event in told.events if isinstance(event, VerdictReached)) == "SHIP"


def test_shuffled_labels_are_no_ship(tiny_path: Path, tmp_path: Path) -> None:
    outcome = project(tiny_path, tmp_path, planted(64, shuffled=True), "train.max_steps=8", "train.evaluate_every=8").outcome
    assert outcome.verdict.verdict != "SHIP" and outcome.verdict.gates[0].state != "pass"
    assert outcome.verdict.exit_code in (2, 3)


def test_the_verdict_is_computed_again_to_the_byte_and_found_again(judged: tuple[Project, Told]) -> None:
    made, _ = judged
    root = made.store.root.parent
    assert verify("agreement:latest", project=root).holds and verdict("agreement:latest", project=root).verdict == "SHIP"
    again = Project(made.recipe, root, offline=True)
    assert again.outcome.evaluation.id == made.outcome.evaluation.id and again.outcome.verdict.looks == 1
    file = made.outcome.evaluation.path / "evidence.json"
    before = file.read_bytes()
    rule = made.outcome.evaluation.numbers["length_accuracy"]["rule"]
    other = {"longer": "shorter", "shorter": "longer"}[rule]
    file.write_bytes(before.replace(f'"rule":"{rule}"'.encode(), f'"rule":"{other}"'.encode()))
    found = verify_verdict(made.outcome.evaluation)
    file.write_bytes(before)
    assert {"report.html", "report.json", "verdict.json"} <= set(found.different)


def test_a_reward_model_opens_as_it_was_judged_and_prefers_the_marked_answer(judged: tuple[Project, Told]) -> None:
    made, _ = judged
    scorer = open_reward_model(made.run.id, project=made.store.root.parent)
    asked = conversation("Say something about number 7.")
    said = [(*asked, Message(role="assistant", content=text)) for text in ("stone river gold lamp", "stone river lamp lamp")]
    one, other = scorer.score(said)
    assert one > other and scorer.score(said[::-1]) == [other, one]  # whatever the order


def test_what_needs_answers_is_refused_with_the_reason(judged: tuple[Project, Told], tmp_path: Path) -> None:
    made, _ = judged
    for ask in (lambda: made.model, lambda: made.use, lambda: follow(made, until="model"), lambda: cross_fit(made)):
        with pytest.raises(EvaluationError, match="scores answers and writes none") as refused:
            ask()
        (problem,) = refused.value.problems
        assert problem.value == "objective.kind reward" and problem.expected and problem.hint
    with pytest.raises(EvaluationError, match="scores answers"):
        _ = made.outcome.measurements
    adapter = tuned_folder(made.run.path)
    with pytest.raises(ModelError, match="it scores answers and writes none"):
        open_tuned(None, adapter)
    with pytest.raises(ModelError, match="it scores answers and writes none"):
        merge_adapters(adapter, out=tmp_path / "merged", base=str(made.base.path))
    assert not (tmp_path / "merged").exists()


def test_a_reward_model_is_no_stage_of_a_chain(tiny_path: Path, tmp_path: Path) -> None:
    recipe = {
        "base": str(tiny_path),
        "sources": ["./rows.jsonl"],
        "stages": {"sft": {}, "score": {"objective": {"kind": "reward"}}},
    }
    with pytest.raises(EvaluationError, match="stage score: the step 'evaluate' does not fit this model"):
        Chain(recipe_from(recipe), tmp_path, offline=True)


def test_a_folder_without_a_head_or_with_that_of_another_method_is_no_reward_model(tmp_path: Path) -> None:
    nothing: Any = None  # the head is read before base and chat
    with pytest.raises(ModelError, match="no head is saved here"):
        open_scorer(nothing, tmp_path, nothing)
    save_file(Values(8).state_dict(), tmp_path / "head.safetensors")
    (tmp_path / "head.json").write_text(json.dumps({"method": "ppo", "width": 8}))
    with pytest.raises(ModelError, match="does not score answers") as refused:
        open_scorer(nothing, tmp_path, nothing)
    (problem,) = refused.value.problems
    assert problem.value and problem.expected and problem.hint


def test_a_whole_model_is_opened_by_its_own_weights(judged: tuple[Project, Told]) -> None:
    made, root = judged[0], judged[0].store.root.parent
    train = made.recipe.train.model_copy(update={"max_steps": 2, "learning_rate": 0.001})
    whole = Project(made.recipe.model_copy(update={"method": MethodConfig(kind="full"), "train": train}), root, offline=True)
    assert tuned_folder(whole.run.path).name == "model" and whole.dataset.id == made.dataset.id
    again, said = open_reward_model(whole.run.id, project=root), [row.messages for row in planted(3)]
    assert again.score(said) == scorer_of_run(whole.run.path).score(said) and len(set(again.score(said))) == 3
    assert again.score(said) != open_reward_model(made.run.id, project=root).score(said)


# --- as a reward ------------------------------------------------------------------------------------------------------


def test_a_reward_model_rewards_the_answers_of_a_run(judged: tuple[Project, Told], tiny_path: Path, tmp_path: Path) -> None:
    run = judged[0].run.path
    options = {"rewards": [{"reward_model": str(run)}], "samples": 2, "max_new_tokens": 4}
    steps = {"max_steps": 1, "evaluate_every": 0, "batch_examples": 2}
    made = train_tiny(tiny_path, tmp_path, objective={"kind": "grpo", "options": options}, method={"dropout": 0.0}, train=steps)
    rows = [json.loads(line) for line in (tmp_path / "out" / "rollouts.jsonl").read_text().splitlines()]
    said = [(*conversation(row["prompt"]), Message(role="assistant", content=row["answer"])) for row in rows]
    scores = scorer_of_run(run).score(said)
    assert [row["rewards"]["reward_model"] for row in rows] == pytest.approx(scores, rel=1e-4) and len(set(scores)) > 1
    assert made.fitted.num_steps == 1 and "reward_reward_model" in made.figures


def test_what_is_no_reward_model_is_refused_in_four_parts(judged: tuple[Project, Told], tmp_path: Path) -> None:
    made, _ = judged
    for folder, said in ((tmp_path / "nowhere", "no whole run"), (made.dataset.path, "dataset")):
        with pytest.raises(TrainingError, match="not the run of a reward model") as refused:
            open_rewards([RewardConfig(reward_model=str(folder))], train=(), seed=7)
        (problem,) = refused.value.problems
        assert said in str(problem.value) and problem.expected and problem.hint


def test_another_reward_model_makes_another_run(judged: tuple[Project, Told]) -> None:
    made, _ = judged
    one, other, none = (
        RewardConfig(reward_model=str(path)).depends() for path in (made.run.path, made.dataset.path, "nowhere")
    )
    assert one and other and one != other and not none


# --- the verdict ------------------------------------------------------------------------------------------------------


def evidence(differences: list[float], *, chosen: str = "one two", rejected: str = "one two") -> AgreementEvidence:
    pairs = tuple(
        ScoredPair(id=f"p{n}", group=f"d{n}", prompt="?", chosen=chosen, rejected=rejected, chosen_score=d, rejected_score=0.0)
        for n, d in enumerate(differences)
    )
    return AgreementEvidence(pairs=pairs, rule="longer", reading="", clusters="", ids={})


def states(found: AgreementEvidence, **named: Any) -> tuple[str, list[str]]:
    _, made = judge_agreement(found, min_documents=6, level=0.95, **named)
    return made.verdict, [gate.state for gate in made.gates]


def test_the_verdict_has_three_values() -> None:
    assert states(evidence([1.0] * 18 + [-1.0] * 2)) == ("SHIP", ["pass", "pass"])
    assert states(evidence([1.0] * 11 + [-1.0] * 9)) == ("CAN'T TELL", ["not measured", "not measured"])
    assert states(evidence([-1.0] * 18 + [1.0] * 2)) == ("DON'T SHIP", ["fail", "fail"])
    assert states(evidence([1.0] * 5)) == ("CAN'T TELL", ["not measured", "not measured"])  # too few documents


def test_scores_that_are_no_better_than_length_are_no_ship() -> None:
    alike = evidence([1.0] * 18 + [-1.0] * 2, chosen="one two three")  # the longer answer is always the better one
    assert states(alike) == ("CAN'T TELL", ["pass", "not measured"])
    worse = evidence([1.0] * 40 + [-1.0] * 20, chosen="one two three")
    assert states(worse) == ("DON'T SHIP", ["pass", "fail"])


def test_the_rule_of_length_is_the_one_that_holds_in_training() -> None:
    assert length_rule([("a b", "a"), ("a b", "a"), ("a", "a b")])[0] == "longer"
    assert length_rule([("a", "a b"), ("a", "a")]) == ("shorter", "words")


def test_a_further_evaluation_and_a_changed_rule_are_told() -> None:
    _, made = judge_agreement(evidence([1.0] * 20), min_documents=6, level=0.98, looks=2, changed=("split.seed was 1, now 2",))
    assert "evaluation 2 on this test set" in made.sentence and "split.seed was 1, now 2" in made.sentence and made.looks == 2


def test_scores_that_are_not_finite_are_an_error_before_anything_is_written(
    judged: tuple[Project, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = judged
    monkeypatch.setattr(Scorer, "score", lambda self, said, **_: [float("nan"), *[0.0] * (len(said) - 1)])
    with pytest.raises(EvaluationError, match="does not give a number") as caught:
        agreeing._scored(made)  # before the evaluation is written or judged
    assert "1 of" in str(caught.value.problems[0].value)
