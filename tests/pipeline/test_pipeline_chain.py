"""Promises of chains: each stage begins from the one before and is judged against it; nothing leaks, nothing is made twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tunesmith
from fakes import Told, golden_rows, preferences, write_posts
from tunesmith.api import Chain, card, chat, open_chain, open_project, verdict, verify, verify_card
from tunesmith.cli.main import main
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import DatasetError, EvaluationError, RecipeError
from tunesmith.core.files import MANIFEST
from tunesmith.core.records import to_json
from tunesmith.core.reporter import ChainStageBegan, PlanMade, StageDone
from tunesmith.data.dataset.golden import add_golden
from tunesmith.data.dataset.leaks import find_leaks
from tunesmith.eval.probes import TAUGHT
from tunesmith.eval.results import read_evidence
from tunesmith.pipeline.cross_fitting import cross_fit
from tunesmith.pipeline.outcome import Outcome
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.stages import model as model_stage
from tunesmith.systems.opening import Opening, open_system

SETTINGS: dict[str, Any] = {
    "build": {"dedup": 0},
    "split": {"val": 0.2, "test": 0.3},
    "method": {"rank": 4, "alpha": 8.0},
    "train": {"max_steps": 3, "evaluate_every": 3, "learning_rate": 0.01, "batch_examples": 4, "precision": "float32"},
    "use": {"temperature": 0.0, "repetition_penalty": 1.0},
    "eval": {"max_new_tokens": 2, "draws": 300, "suites": [], "baselines": []},
}


def made(root: Path) -> dict[str, int]:
    return {str(p.parent.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob(MANIFEST) if "work" not in p.parts}


def stages(posts: Path, rows: Path) -> dict[str, Any]:
    voice = {"sources": [str(posts)], "on_no_help": "keep", "build": {"passage_words": 40}}
    return {"voice": voice, "taste": {"sources": [str(rows)], "objective": {"kind": "dpo"}, "on_no_help": "keep"}}


@pytest.fixture(scope="module")
def root(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two stages, with its recipe; nothing is made yet."""
    place = tmp_path_factory.mktemp("chain")
    rows = place / "rows.jsonl"
    rows.write_bytes(b"".join(to_json(row) + b"\n" for row in preferences(24)))
    add_golden(place, golden_rows())
    recipe = {"base": str(tiny_path), **SETTINGS, "stages": stages(write_posts(place / "posts", 10), rows)}
    (place / "tunesmith.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return place


@pytest.fixture(scope="module")
def half(root: Path) -> dict[str, int]:
    """What there is after a run that was interrupted while the second stage was merged."""
    count = 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return merge(*arguments, **options)

    merge: Any = getattr(model_stage, "merge")  # noqa: B009 (imported there, not exported)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_stage, "merge", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ = open_chain(project=root).outcome
    return made(root)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def chain(root: Path, half: dict[str, int], told: Told) -> Chain:
    """The same chain, continued to its end."""
    assert half
    found = open_chain(project=root, reporter=told)
    assert len(found.outcome.stages) == 2
    return found


# --- the recipe -------------------------------------------------------------------------------------------------------


def test_a_stage_has_the_settings_of_the_recipe_and_its_own() -> None:
    data = {
        "sources": ["a"],
        "train": {"epochs": 3, "learning_rate": 0.1},
        "objective": {"kind": "dpo", "beta": 0.3},
        "stages": {"one": {"objective": {"kind": "sft"}, "train": {"epochs": 5}}, "two": {"sources": ["b"]}, "three": None},
    }
    recipe = recipe_from(data, ["stages.two.train.learning_rate=2e-4", "train.seed=9"])
    one, two, three = recipe.stage_recipes.values()
    assert (one.train.epochs, one.train.learning_rate, one.train.seed) == (5, 0.1, 9)
    assert (one.objective.kind, one.objective.options) == ("sft", {})  # a section with another kind is another section
    assert (two.sources, two.train.learning_rate, two.objective.options) == (["b"], 2e-4, {"beta": 0.3})
    assert three.sources == ["a"] and three.stages == {} and recipe.sources == ["a", "b"]
    assert one.has_written("train.epochs") and not one.has_written("train.patience")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"trian": {"epochs": 1}}, "unknown setting"),
        ({"train": {"epohs": 1}}, "did you mean train.epochs"),
        ({"base": "smollm2"}, "no base of its own"),
        ({"stages": {}}, "no stages of its own"),
    ],
)
def test_what_is_wrong_in_a_stage_is_reported_with_its_name(own: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from({"sources": ["a"], "stages": {"voice": {}, "taste": own}})
    (problem,) = caught.value.problems
    assert problem.what.startswith("stage taste: ") and problem.expected and problem.hint
    assert said in str(caught.value)


def test_a_fault_in_a_stage_is_reported_at_its_line(tmp_path: Path) -> None:
    from tunesmith.pipeline.recipe_file import load_recipe

    file = tmp_path / "tunesmith.yaml"
    file.write_text("sources: [a]\ntrain: {epochs: 2}\nstages:\n  voice:\n    train:\n      epochs: -1\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert [problem.where for problem in caught.value.problems] == [f"{file}:6:7"]


@pytest.mark.parametrize("name", ["Voice", "../x", "latest", "a b"])
def test_a_name_that_is_no_name_of_a_stage_is_refused(name: str) -> None:
    with pytest.raises(RecipeError):
        recipe_from({"sources": ["a"], "stages": {name: {}}})


def test_a_chain_is_not_taken_for_one_run(root: Path, tmp_path: Path) -> None:
    recipe = recipe_from({"sources": ["a"], "stages": {"voice": {}}})
    with pytest.raises(RecipeError, match="chain of stages"):
        Project(recipe, tmp_path)
    with pytest.raises(RecipeError, match="skipped"):
        open_chain(project=root, settings={"stages.voice.skip": True, "stages.taste.skip": True})
    with pytest.raises(RecipeError, match="no such stage"):
        open_project(project=root, stage="tase")
    with pytest.raises(RecipeError, match="no stages"):
        open_project("./posts", project=tmp_path, stage="voice")


# --- before anything is trained ---------------------------------------------------------------------------------------


def test_rows_that_a_later_stage_lacks_stop_the_chain_before_the_first_training(
    tiny_path: Path, posts: Path, tmp_path: Path
) -> None:
    told = Told()
    recipe = recipe_from({"base": str(tiny_path), **SETTINGS, "stages": stages(posts, posts)})
    with pytest.raises(DatasetError) as caught:
        _ = Chain(recipe, tmp_path, reporter=told).outcome
    (problem,) = caught.value.problems
    assert problem.what.startswith("stage taste: ") and "--set stages.taste.objective.kind=sft" in problem.hint
    assert not (tmp_path / ".tunesmith" / "runs").exists()
    assert [event.name for event in told.events if isinstance(event, ChainStageBegan)] == ["voice", "taste"]


def rows_after(tiny_path: Path, tmp_path: Path, planted: list[tuple[str, str]]) -> Chain:
    """A chain whose second stage holds these questions and answers, each a document of its own, between others."""
    others = [(f"Which tool is number {n}?", f"Number {n}: {row.rejected[-90:]}") for n, row in enumerate(preferences(40))]
    lines = [json.dumps({"prompt": asked, "completion": said, "title": asked}) for asked, said in [*planted, *others]]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    voice, posts = {"build": {"passage_words": 40}}, write_posts(tmp_path / "posts", 12)
    own = {"voice": {**voice, "sources": [str(posts)]}, "more": {"sources": [str(tmp_path / "rows.jsonl")]}}
    return Chain(recipe_from({"base": str(tiny_path), **SETTINGS, "stages": own}), tmp_path)


def test_no_stage_is_tested_on_what_an_earlier_one_has_learned_nor_the_other_way_round(tiny_path: Path, tmp_path: Path) -> None:
    voice = rows_after(tiny_path, tmp_path, []).stage("voice").project
    learned = [(f"What about {n}?", row.answer) for n, row in enumerate([*voice.rows("train"), *voice.rows("val")])]
    tested = [(f"And what of {n}?", row.answer) for n, row in enumerate(voice.rows("test"))]
    more = rows_after(tiny_path, tmp_path, [*learned, *tested]).stage("more").project
    seen = {name: tuple(voice.rows(name)) for name in ("train", "val", "test")}
    own = {name: tuple(more.rows(name)) for name in ("train", "val", "test")}
    apart = more.dataset.numbers["earlier_stages"]
    assert apart["seen"] > 0 and apart["tested"] > 0
    for name in ("train", "val"):
        errors = [f for f in find_leaks({"train": seen[name], "test": own["test"]}) if f.severity == "error"]
        errors += [f for f in find_leaks({"train": own[name], "test": seen["test"]}) if f.severity == "error"]
        assert not errors
    # the planted copies are found where nothing is known of the earlier stage
    alone = recipe_from({"base": str(tiny_path), "sources": [str(tmp_path / "rows.jsonl")], **SETTINGS})
    bare = {name: tuple(Project(alone, tmp_path / "alone").rows(name)) for name in ("train", "test")}
    assert any(f.severity == "error" for f in find_leaks({"train": seen["train"], "test": bare["test"]}))
    assert any(f.severity == "error" for f in find_leaks({"train": bare["train"], "test": seen["test"]}))


def test_stages_of_the_same_posts_have_the_same_split(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    own = {"one": {"build": {"passage_words": 40}}, "two": {"build": {"passage_words": 60}}}
    chain = Chain(recipe_from({"base": str(tiny_path), "sources": [str(posts)], **SETTINGS, "stages": own}), tmp_path)
    one, two = (stage.project for stage in chain.stages)
    for name in ("train", "val", "test"):
        assert {row.group for row in one.rows(name)} == {row.group for row in two.rows(name)}
    assert two.dataset.numbers["earlier_stages"] == {"seen": 0, "tested": 0}
    assert "earlier_stages" not in one.dataset.numbers


# --- the chain --------------------------------------------------------------------------------------------------------


def test_a_stage_begins_from_the_merged_model_of_the_one_before(chain: Chain) -> None:
    voice, taste = (stage.project for stage in chain.stages)
    assert taste.base.path.samefile(voice.model.path) and taste.base.fingerprint != voice.base.fingerprint
    assert taste.base.name == f"model-{voice.model.path.name}"  # not a path: the project may be moved
    assert {"kind": "base", "id": taste.base.fingerprint} in taste.run.manifest["inputs"]
    assert taste.chat.fingerprint == voice.chat.fingerprint
    evidence = taste.judged.evidence
    assert [run.fingerprint for run in evidence.systems if run.name == "base"] != [
        run.fingerprint for run in voice.judged.evidence.systems if run.name == "base"
    ]


def test_an_interrupted_chain_continues_where_it_was(root: Path, half: dict[str, int], chain: Chain) -> None:
    after = made(root)
    assert {path: after[path] for path in half} == half
    kinds = sorted(Path(path).parts[1] for path in after.keys() - half.keys())
    assert kinds == ["chains", "evals", "models", "overalls"]
    assert chain.outcome.page.path.is_dir()


def test_a_second_run_makes_nothing_again(root: Path, chain: Chain) -> None:
    before = made(root)
    again = open_chain(project=root).outcome
    assert made(root) == before and again.verdict == chain.outcome.verdict
    assert [one.outcome.evaluation.id for one in again.stages] == [one.outcome.evaluation.id for one in chain.outcome.stages]


def test_the_data_and_plans_of_all_stages_come_before_the_first_training(chain: Chain, told: Told) -> None:
    assert chain.outcome.stages
    order = [
        event.kind if isinstance(event, StageDone) else "plan"
        for event in told.events
        if isinstance(event, PlanMade | StageDone)
    ]
    assert order[: order.index("run")].count("plan") == 2 and order[: order.index("run")].count("dataset") == 2


def test_the_whole_chain_is_judged_against_the_base_that_it_began_with(root: Path, chain: Chain) -> None:
    overall = chain.outcome.deciding
    assert overall.evaluation.kind == "overall" and chain.outcome.verdict == overall.verdict
    voice, taste = (stage.project for stage in chain.stages)
    evidence = read_evidence(overall.evaluation.path / "evidence.json")
    assert [run.name for run in evidence.systems] == ["base", "stage_voice", "tuned"]
    assert {item.id for item in evidence.items} <= {row.id for row in taste.rows("test")}
    assert {"kind": "base", "id": voice.base.fingerprint} in overall.evaluation.manifest["inputs"]
    assert overall.measurements.comparison("base", "stage_voice") is not None
    assert evidence.parity == taste.judged.evidence.parity and evidence.parity is not None
    assert evidence.probes[TAUGHT]["base"] and taste.judged.evidence.probes[TAUGHT]["base"]  # training rows were asked
    assert len(evidence.golden) == 7 and overall.measurements.golden is not None
    assert {gate.name: gate.required for gate in overall.verdict.gates}["golden"]
    assert overall.verdict.looks == 2  # the last stage was judged on these items first
    assert {row.answer for one in (voice, taste) for row in one.rows("train")} == set(evidence.train_answers)
    assert verify("overall:latest", project=root).holds


def test_artifacts_are_found_by_the_names_of_their_stages(root: Path, chain: Chain) -> None:
    store = Store(root / ".tunesmith")
    for stage in chain.stages:
        assert store.resolve(f"run:{stage.name}").id == stage.project.run.id
        assert store.resolve(f"model:{stage.name}").id == stage.project.model.id
    assert store.resolve("run:latest").id == store.resolve("run:taste").id
    with pytest.raises(Exception, match="no such artifact"):
        store.resolve("run:tast")
    assert verdict("chain:latest", project=root) == chain.outcome.verdict
    assert verdict("eval:voice", project=root) == chain.outcome.stages[0].outcome.verdict


def test_the_base_of_a_finished_stage_is_found_again(root: Path, chain: Chain) -> None:
    from tunesmith.pipeline.finished import finished_run

    store = Store(root / ".tunesmith")
    taste = chain.stage("taste").project
    assert finished_run(store, "chain:latest").run.id == taste.run.id
    assert finished_run(store, "run:taste").base.fingerprint == taste.base.fingerprint
    talk = chat(project=root, run="run:taste", max_new_tokens=2)
    assert talk.systems == ("base", "tuned", "merged") and talk.base == taste.base.name
    with open_system("run:taste", Opening(store=store)) as opened:
        assert opened.base is not None and opened.base.fingerprint == taste.base.fingerprint


def test_the_card_of_a_later_stage_says_what_its_base_was_and_what_the_verdict_is_about(
    root: Path, chain: Chain, tmp_path: Path
) -> None:
    origin = chain.stage("voice").project.base
    made_card = card("run:taste", project=root, out=tmp_path / "README.md")
    assert f"is `{origin.path.name}` after earlier stages" in made_card.text and str(origin.path) not in made_card.text
    assert "earlier stages" not in card("run:voice", project=root).text
    assert verify_card(tmp_path / "README.md", project=root).ok


def test_the_page_names_every_stage_and_its_links_lead_somewhere(chain: Chain) -> None:
    import re

    page = chain.outcome.page.path / "report.html"
    text = page.read_text()
    links = re.findall(r'href="([^"]+)"', text)
    assert len(links) == 7 and all((page.parent / link).resolve().is_file() for link in links)
    values = json.loads((page.parent / "chain.json").read_bytes())
    assert [one["name"] for one in values["stages"]] == ["voice", "taste"]
    assert [one["title"] for one in values["against_base"]["systems"]] == ["base", "after voice", "after taste"]


def test_a_first_stage_is_the_run_that_its_recipe_makes_without_a_chain(root: Path, chain: Chain) -> None:
    voice = chain.stage("voice").project
    alone, before = Project(voice.recipe, root), made(root)
    assert (alone.dataset.id, alone.run.id, alone.outcome.evaluation.id) == (
        voice.dataset.id,
        voice.run.id,
        voice.outcome.evaluation.id,
    )
    assert made(root) == before
    assert chain.stage("taste").project.outcome.evaluation.id  # marks the last stage as the latest again
    assert "origin" not in voice.run.manifest["settings"]


def test_the_functions_take_a_recipe_with_stages(root: Path, chain: Chain) -> None:
    before = made(root)
    assert tunesmith.run(project=root).verdict == chain.outcome.verdict
    assert tunesmith.evaluate(project=root, stage="voice").verdict == chain.outcome.stages[0].outcome.verdict
    assert tunesmith.merge(project=root, stage="voice").id == chain.stage("voice").project.model.id
    assert tunesmith.build(project=root).id == chain.stage("taste").project.dataset.id
    assert list(chain.plans) == ["voice", "taste"] and made(root) == before
    with pytest.raises(RecipeError, match="chain of stages"):
        tunesmith.crossfit(project=root)
    with pytest.raises(DatasetError, match="later stage"):
        cross_fit(chain.stage("taste").project)


# --- a stage that does not help ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A chain on the finished project, whose verdicts are made up."""

    root: Path
    patch: pytest.MonkeyPatch
    real: dict[str, Outcome]

    def __call__(self, verdicts: dict[str, str], **config: str) -> Chain:
        def outcome(project: Project) -> Outcome:
            name = project._chained.name if project._chained else ""
            found = self.real[name]
            return replace(found, verdict=replace(found.verdict, verdict=verdicts[name]))  # type: ignore[arg-type]

        self.patch.setattr(Project, "outcome", property(outcome))
        names = {name.replace("__", "."): value for name, value in config.items()}
        return open_chain(project=self.root, settings={f"stages.{name}": value for name, value in names.items()})


@pytest.fixture
def judged(root: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Chain]:
    real = {one.name: one.outcome for one in chain.outcome.stages}
    return Judged(root, monkeypatch, real)


def test_a_chain_stops_at_a_stage_that_did_not_help_and_says_how_to_leave_it_out(judged: Callable[..., Chain]) -> None:
    chain = judged({"voice": "DON'T SHIP"}, voice__on_no_help="stop")
    found = chain.outcome
    assert (found.stopped, found.did_not_help, found.deciding.evaluation.kind) == ("voice", ("voice",), "eval")
    assert found.advice == ("stage voice did not help: --set stages.voice.skip=true leaves it out",)
    assert found.verdict.verdict == "DON'T SHIP" and len(found.stages) == 1
    assert found.as_dict()["not_trained"] == ["taste"]
    with pytest.raises(EvaluationError, match="ends at the stage voice"):
        _ = chain.stage("taste").project.base


def test_a_stage_that_did_not_help_can_be_left_out_by_itself(root: Path, judged: Callable[..., Chain]) -> None:
    chain = judged({"voice": "SHIP", "taste": "DON'T SHIP"}, taste__on_no_help="skip")
    found = chain.outcome
    assert [one.then for one in found.stages] == ["keep", "skip"]
    assert found.deciding.evaluation.id == chain.stage("voice").project.outcome.evaluation.id
    assert Store(root / ".tunesmith").resolve("run:latest").id == chain.stage("voice").project.run.id


def test_the_next_stage_begins_from_the_last_one_that_helped(judged: Callable[..., Chain]) -> None:
    chain = judged({"voice": "DON'T SHIP", "taste": "SHIP"}, voice__on_no_help="skip")
    assert chain.result("taste").began == chain.stage("voice").project.base.name
    assert chain.stage("taste").project.base.fingerprint == chain.stage("voice").project.base.fingerprint


@pytest.mark.parametrize(("wanted", "then"), [("keep", "keep"), ("skip", "skip"), ("stop", "stop")])
def test_what_follows_a_stage_of_which_nothing_can_be_said_is_the_recipes_choice(
    wanted: str, then: str, judged: Callable[..., Chain]
) -> None:
    chain = judged({"voice": "CAN'T TELL"}, voice__on_cant_tell=wanted, voice__on_no_help="stop")
    result = chain.result("voice")
    assert result.then == then and not result.helped


def test_a_stage_that_the_recipe_skips_is_not_made(root: Path, chain: Chain) -> None:
    only = open_chain(project=root, settings={"stages.voice.skip": True})
    assert [stage.name for stage in only.stages] == ["taste"] and only.left_out == ("voice",)
    assert only.stage().project.base.fingerprint == chain.stage("voice").project.base.fingerprint
    with pytest.raises(RecipeError, match="skips this stage"):
        only.stage("voice")


# --- the command line -------------------------------------------------------------------------------------------------


def called(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(list(words))
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_run_shows_each_stage_and_prints_all_of_them_as_json(
    root: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, "run", "--project", str(root), "--json")
    found = json.loads(out.splitlines()[-1])
    assert code == chain.outcome.verdict.exit_code == found["exit_code"]
    assert [one["name"] for one in found["stages"]] == ["voice", "taste"] and found["report"].endswith("report.html")
    assert "stage 2 of 2" in err and "against voice" in err and "chain:latest" in err


def test_plan_prints_every_stage_and_what_they_take_together(
    root: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = called(capsys, "plan", "--project", str(root), "--json")
    found = json.loads(out.splitlines()[-1])
    assert code == 0 and [one["name"] for one in found["stages"]] == ["voice", "taste"]
    assert found["total_seconds"] == pytest.approx(sum(one["numbers"]["total_seconds"] for one in found["stages"]), abs=0.2)
    _, out, _ = called(capsys, "plan", "--project", str(root), "--stage", "voice")
    assert "stage voice" in out and "stage taste" not in out and chain.stages


@pytest.mark.parametrize("verb", ["train", "merge", "build"])
def test_the_verbs_of_single_steps_take_the_name_of_a_stage(
    verb: str, root: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = {"train": "run", "merge": "model", "build": "dataset"}[verb]
    for name in ("voice", "taste"):
        code, out, _ = called(capsys, verb, "--project", str(root), "--stage", name, "--json")
        assert code == 0 and json.loads(out)["id"] == chain.stage(name).project.artifact(kind).id
    code, out, _ = called(capsys, verb, "--project", str(root), "--json")
    assert json.loads(out)["stage"] == "taste"
