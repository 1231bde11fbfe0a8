"""Promises of the last stage: how long answers may be, who is shown to the prompted base, whose verdict is returned."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from arena_made import cast_all
from evidence_fakes import evidence, general, parity

from fakes import example, examples
from tunesmith.api import Project, open_arena, verify
from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import to_json, write_jsonl
from tunesmith.eval.evaluate import Measured
from tunesmith.eval.verdict import decide
from tunesmith.models.load import BaseFolder
from tunesmith.models.use import GREEDY_USE
from tunesmith.pipeline import evidence as evidence_module
from tunesmith.pipeline import judging, ruling
from tunesmith.pipeline.draw import OtherSets
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.stages import eval as eval_stage
from tunesmith.pipeline.verifying import stored_verdict, verify_verdict

EVIDENCE = evidence(
    {"base": 1.4, "prompted": 1.3, "tuned": 1.1, "merged": 1.1001}, with_parity=parity(), with_general=general()
)


def artifact(kind: str, path: Path, **numbers: Any) -> Artifact:
    return Artifact(path, {"kind": kind, "id": kind * 8, "numbers": numbers})


def at_the_end(base: BaseFolder, root: Path, *overrides: str, answer_tokens: int = 20) -> Project:
    """A project whose stages before the evaluation are done, as far as anybody asks."""
    made = Project(recipe_from({"base": str(base.path), "sources": ["./posts"], "eval": {"draws": 300}}, overrides), root)
    for name in ("documents", "dataset", "run", "use", "model"):
        (root / name).mkdir(exist_ok=True)
    (root / "use" / "use.json").write_bytes(to_json(asdict(GREEDY_USE)))
    write_jsonl(root / "dataset" / "test.jsonl", examples(6)[4:])
    made.__dict__ |= {"base": base}
    made._artifacts |= {
        "documents": artifact("documents", root / "documents"),
        "dataset": artifact("dataset", root / "dataset", answer_tokens=answer_tokens),
        "run": artifact("run", root / "run", reading={"shape": "flat", "text": "it learned", "advice": "go on"}),
        "use": artifact("use", root / "use"),
        "model": artifact("model", root / "model"),
    }
    return made


@pytest.mark.parametrize(("usual", "most"), [(10, 64), (400, 501), (700, 767)])
def test_answers_may_be_a_quarter_longer_than_the_references_even_beyond_half_the_context(
    tiny: BaseFolder, tmp_path: Path, usual: int, most: int
) -> None:
    assert tiny.context == 768
    assert at_the_end(tiny, tmp_path, answer_tokens=usual).max_new_tokens == most


def test_general_rows_that_were_mixed_in_are_never_shown_as_the_author_s_passages(
    tiny: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, own = at_the_end(tiny, tmp_path), examples(4)
    strange = example("What is 2 and 2?", "Four.", id="general-1")
    made.__dict__["other_sets"] = OtherSets(general=(strange,))
    write_jsonl(tmp_path / "dataset" / "train.jsonl", [*own, strange, replace(strange, id="general-1#again-2")])
    write_jsonl(tmp_path / "dataset" / "test.jsonl", examples(6)[4:])
    (tmp_path / "run" / "metrics.jsonl").write_bytes(b"")
    shown: list[Any] = []

    def watching(*_: Any, train: Any, **__: Any) -> Measured:
        shown.extend(train)
        return Measured(EVIDENCE.systems, parity(), {"reference": general().base}, {"passages shown to the prompted base": 3})

    monkeypatch.setattr(judging, "evaluate", watching)
    monkeypatch.setattr(judging, "voice_scores", lambda *_, **__: None)  # the answers are to other questions
    monkeypatch.setattr(judging, "find_base", lambda path: tiny)
    found = judging._gather(made)
    assert [row.id for row in shown] == [row.id for row in own]
    assert found.numbers["passages shown to the prompted base"] == 3


def test_code_that_changed_asks_the_models_again_and_the_same_code_does_not(
    tiny: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def gathered(_: Any) -> Any:
        asked.append(1)
        return EVIDENCE

    monkeypatch.setattr(judging, "_gather", gathered)
    first = at_the_end(tiny, tmp_path).outcome.evaluation.id
    assert at_the_end(tiny, tmp_path).outcome.evaluation.id == first
    assert at_the_end(tiny, tmp_path, "gates.stop_margin=0.5").outcome.evaluation.id != first
    assert len(asked) == 1
    monkeypatch.setattr(eval_stage, "measuring_code", lambda: "other code")
    assert at_the_end(tiny, tmp_path).outcome.evaluation.id != first
    assert len(asked) == 2


def test_the_hash_of_the_code_follows_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("eval/gates.py", "models/deep/chat.py", "examples/general.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("a")
    monkeypatch.setattr(evidence_module, "EXAMPLES", tmp_path / "examples")
    hashes = [evidence_module.measuring_code.__wrapped__()]
    for name in ("eval/gates.py", "models/deep/chat.py", "examples/general.jsonl"):
        (tmp_path / name).write_text("b")
        hashes.append(evidence_module.measuring_code.__wrapped__())
    assert len(set(hashes)) == 4


def test_the_verdict_is_the_one_on_disk_and_another_one_is_an_error(
    tiny: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_gather", lambda project: EVIDENCE)
    made = at_the_end(tiny, tmp_path).outcome
    assert (made.verdict.verdict, made.verdict.gates[0].threshold) == ("SHIP", 0.02)

    def harsher(measurements: Any, gates: Any, **more: Any) -> Any:
        return decide(replace(measurements, parity=parity(max_abs_logit=0.5)), gates, **more)

    monkeypatch.setattr(ruling, "decide", harsher)
    with pytest.raises(EvaluationError, match="another verdict than its evidence gives") as caught:
        assert at_the_end(tiny, tmp_path).outcome
    assert "SHIP on disk, DON'T SHIP now" in str(caught.value) and caught.value.problems[0].hint


def test_a_stored_verdict_computes_again_to_the_byte_and_a_changed_number_does_not(
    tiny: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_gather", lambda project: EVIDENCE)
    made = at_the_end(tiny, tmp_path).outcome.evaluation
    found = verify("eval:latest", project=tmp_path)
    assert found.holds and found.verdict.verdict == "SHIP"
    assert {"predictions-tuned.jsonl", "verdict.json", "report.html", "report.json"} <= set(found.files)
    verdict = made.path / "verdict.json"
    verdict.write_bytes(verdict.read_bytes().replace(b'"verdict":"SHIP"', b'"verdict":"CAN\'T TELL"'))
    changed = verify_verdict(made)
    assert not changed.holds and changed.different[0] == "verdict.json" and "manifest.json" in changed.different[1]


def test_only_an_evaluation_holds_a_verdict(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no verdict") as caught:
        stored_verdict(artifact("run", tmp_path))
    assert "tunesmith verdict eval:latest" in str(caught.value.problems[0].hint)


def test_a_later_evaluation_on_the_same_test_set_is_judged_at_a_higher_level_and_says_so(
    tiny: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_gather", lambda project: EVIDENCE)
    first = at_the_end(tiny, tmp_path).outcome.verdict
    second = at_the_end(tiny, tmp_path, "eval.primary=rouge_l").outcome.verdict
    assert (first.looks, second.looks) == (1, 2) and at_the_end(tiny, tmp_path).outcome.verdict == first
    assert "This is evaluation 2 on this test set, so intervals are at 98.3 %." in second.sentence
    assert "Changed since the plan: eval.primary was bits_per_byte, now rouge_l." in second.sentence


def test_votes_enter_the_verdict_without_another_answer_or_another_evaluation_being_counted(
    tiny: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def gathered(_: Any) -> Any:
        asked.append(1)
        runs = [
            replace(run, generations=tuple(replace(g, text=f"{run.name} {g.text}") for g in run.generations))
            for run in EVIDENCE.systems
        ]
        return replace(EVIDENCE, systems=tuple(runs))

    monkeypatch.setattr(judging, "_gather", gathered)
    plain = at_the_end(tiny, tmp_path).outcome
    arena = open_arena(project=tmp_path)
    assert at_the_end(tiny, tmp_path).outcome.evaluation.id == plain.evaluation.id  # an arena without votes changes nothing
    assert cast_all(arena, prefer="base", most=14) == 14
    voted = at_the_end(tiny, tmp_path).outcome
    gate = next(gate for gate in voted.verdict.gates if gate.name == "arena")
    assert (gate.state, voted.verdict.verdict, voted.verdict.looks, len(asked)) == ("fail", "DON'T SHIP", 1, 1)
    assert plain.verdict.verdict == "SHIP" and all(gate.name != "arena" for gate in plain.verdict.gates)
    assert "Blind votes" in (voted.evaluation.path / "report.html").read_text(encoding="utf-8")
    assert verify("eval:latest", project=tmp_path).holds
    assert open_arena(project=tmp_path).path == arena.path  # and not one for the new evaluation
