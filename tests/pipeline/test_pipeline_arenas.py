"""Arenas of an evaluation's answers or of answers generated now, and votes as rows for other stages."""

from __future__ import annotations

import io
import json
from pathlib import Path

import orjson
import pytest
from arena_made import cast_all, evaluated, made_arena

from tunesmith.api import arena_export, arena_results, artifact, golden_add, open_arena
from tunesmith.cli.main import main
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError, EvaluationError, SourceError
from tunesmith.eval.arena.arena import Arena
from tunesmith.pipeline.arena_votes import votes_id, votes_on
from tunesmith.pipeline.arenas import Wanted, make_arena


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """Twenty pairs, all for the tuned model but one tie and one on which the voter changed their mind."""
    arena = made_arena(tmp_path_factory.mktemp("voted"))
    first = arena.showing("me")
    assert first is not None
    arena.cast("me", first.pair.id, "tie")
    while (shown := arena.showing("me")) is not None:
        other = "right" if shown.left == "tuned" else "left"
        for_tuned = "left" if shown.left == "tuned" else "right"
        changed = (
            shown.again and shown.pair.id != first.pair.id and all(v.choice != other or not v.again for v in arena.votes())
        )
        arena.cast("me", shown.pair.id, other if changed else for_tuned, again=shown.again)  # type: ignore[arg-type]
    return arena


def exit_code(*words: object) -> int:
    try:
        main(["arena", *map(str, words)])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def project_of(arena: Arena) -> Path:
    return arena.path.parent.parent


def test_the_pairs_are_stored_answers_with_their_draws_and_the_same_command_opens_them_again(tmp_path: Path) -> None:
    arena = made_arena(tmp_path)
    cast_all(arena, most=2)
    again = open_arena(project=tmp_path)
    assert again.path == arena.path and len(again.votes()) == 2 and arena.systems == ("base", "tuned")
    assert {pair.a.draw for pair in arena.pairs} == {0, 1, 2}
    assert all(pair.a.text.startswith("base says") for pair in arena.pairs)
    assert len({pair.document for pair in arena.pairs}) == 10 and len(arena.pairs) == 20
    assert open_arena(project=tmp_path, seed=8).path != arena.path


def test_three_systems_get_every_combination_equally_often_and_strengths(tmp_path: Path) -> None:
    evaluated(tmp_path, systems=("base", "prompted", "tuned"))
    arena = open_arena(project=tmp_path, systems=("base", "prompted", "tuned"), pairs=30)
    sizes = [sum(pair.systems == {a, b} for pair in arena.pairs) for a, b in (("base", "tuned"), ("base", "prompted"))]
    assert len(arena.pairs) == 30 and min(sizes) >= 9
    while (shown := arena.showing("me")) is not None:
        arena.cast("me", shown.pair.id, "left", again=shown.again)
    found = arena.results().as_dict()
    assert found["decision"] == "not measured" and "left answer" in found["why"]  # who presses one key is not counted
    while (shown := arena.showing("you")) is not None:
        wins = len(shown.pair.id) + int(shown.pair.id, 16) % 3
        arena.cast("you", shown.pair.id, ("left", "right", "tie")[wins % 3], again=shown.again)
    assert len(arena.results().as_dict()["strengths"]) == 3


def test_an_arena_whose_pairs_were_changed_is_refused_and_its_votes_stay(tmp_path: Path) -> None:
    arena = made_arena(tmp_path)
    cast_all(arena, most=3)
    with (arena.path / "pairs.jsonl").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ArtifactError, match="damaged"):
        make_arena(tmp_path, Wanted(), reporter=None)  # type: ignore[arg-type]
    assert len(arena.votes()) == 3


@pytest.mark.parametrize("systems", [("base",), ("base", "base"), tuple(f"s{i}" for i in range(9))])
def test_one_system_is_no_arena(tmp_path: Path, systems: tuple[str, ...]) -> None:
    with pytest.raises(EvaluationError, match="two to eight"):
        open_arena(project=tmp_path, systems=systems)


def test_without_an_evaluation_or_an_arena_the_next_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no answers to compare") as caught:
        open_arena(project=tmp_path)
    assert "--questions" in caught.value.problems[0].hint
    with pytest.raises(ArtifactError, match="no arena in this project"):
        arena_results(project=tmp_path)


def test_own_questions_are_answered_by_the_models_named(tiny_path: Path, tmp_path: Path) -> None:
    from fakes import make_base

    other = make_base(tmp_path / "other", seed=5)
    asked = tmp_path / "questions.txt"
    asked.write_text("What is rust?\nWho are you?\n", encoding="utf-8")
    systems = (str(tiny_path), str(other))
    arena = open_arena(project=tmp_path, systems=systems, questions=asked, ask="Which is clearer?", max_new_tokens=4)
    assert arena.ask == "Which is clearer?" and arena.systems == systems
    assert {pair.prompt[0].content for pair in arena.pairs} <= {"What is rust?", "Who are you?"}
    asked.write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(SourceError, match="line 1"):
        open_arena(project=tmp_path, systems=systems, questions=asked.rename(tmp_path / "q.jsonl"))


def test_votes_become_preference_pairs_without_ties_changes_of_mind_and_golden_items(voted: Arena, tmp_path: Path) -> None:
    project = project_of(voted)
    found = arena_export(tmp_path / "pairs.jsonl", kind="preference", project=project)
    rows = [orjson.loads(line) for line in (tmp_path / "pairs.jsonl").read_bytes().splitlines()]
    assert found.rows == len(rows) == 18
    assert found.left_out == {"no preference": 1, "judged differently when the sides were swapped": 1}
    assert all(row["chosen"] != row["rejected"] and "base says" in row["rejected"] for row in rows)
    golden = tmp_path / "golden.jsonl"
    golden.write_bytes(orjson.dumps({"prompt": rows[0]["prompt"], "completion": "The author's own words."}) + b"\n")
    golden_add(golden, project=project)
    again = arena_export(tmp_path / "pairs.jsonl", kind="preference", project=project)
    held = sum(row["prompt"] == rows[0]["prompt"] for row in rows)
    assert again.rows == 18 - held and again.left_out["golden items, which are never learned from"] >= held > 0
    assert rows[0]["prompt"] not in (tmp_path / "pairs.jsonl").read_text(encoding="utf-8")


def test_votes_become_labels_that_name_the_preferred_answer(voted: Arena, tmp_path: Path) -> None:
    arena_export(tmp_path / "labels.jsonl", kind="labels", project=project_of(voted))
    rows = [orjson.loads(line) for line in (tmp_path / "labels.jsonl").read_bytes().splitlines()]
    assert len(rows) == 20 and sum(row["human"] == "tie" for row in rows) == 1
    for row in rows:
        preferred = {"A": row["system_a"], "B": row["system_b"], "tie": "tuned"}[row["human"]]
        assert preferred == "tuned" and {row["system_a"], row["system_b"]} == {"base", "tuned"}
    assert {row["system_a"] for row in rows} == {"base", "tuned"}
    with pytest.raises(EvaluationError, match="cannot be exported"):
        arena_export(tmp_path / "x", kind="csv", project=project_of(voted))


def test_the_command_prints_the_contract_and_its_exit_code_says_whether_the_votes_tell(
    voted: Arena, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def printed(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = exit_code(*words, "--project", project_of(voted))
        return code, capsys.readouterr().out

    code, text = printed("results", "--json")
    found = json.loads(text)
    assert code == 0 and found["decision"] == "enough" and found["better"] == "tuned"
    assert found["systems"] == ["base", "tuned"] and (found["votes"], found["ties"]) == (20, 1)
    assert found["wins"] == {"base": 0, "tuned": 19} and found["consistency"]["n"] == 2
    low, high = found["win_rate"]["ci"]
    assert low < found["win_rate"]["value"] == 0.975 < high and found["win_rate"]["system"] == "tuned"
    code, text = printed("results")
    assert code == 0 and "Enough to tell: tuned is preferred in 19 of 19 votes" in " ".join(text.split())
    assert printed("export", "--as", "labels", "--out", str(tmp_path / "l.jsonl"))[0] == 0
    assert printed("export")[0] == 1 and printed("dance")[0] == 1


def test_the_terminal_asks_casts_and_shows_no_names_before_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = made_arena(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\nx\n0\ns\nq\n"))
    assert exit_code("--terminal", "--project", tmp_path) == 0
    assert [vote.choice for vote in arena.votes()] == ["left", "right", "tie", "skip"]
    shown = capsys.readouterr()
    assert "1 or 2 for the better answer" in shown.out + shown.err and "win rate" not in shown.out + shown.err
    monkeypatch.setattr("sys.stdin", io.StringIO("e\n"))
    assert exit_code("--terminal", "--project", tmp_path) == 0
    text = capsys.readouterr().out
    assert "Not measured: 3 votes, 2 of them with a preference" in " ".join(text.split())


# --- arenas among the other artifacts, and several of one run ---------------------------------------------------------


def test_an_arena_is_found_by_reference_like_any_artifact_and_shown_with_its_votes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = made_arena(tmp_path)
    cast_all(first, most=3)
    second = open_arena(project=tmp_path, seed=8)
    for reference, found in (("arena:latest", second), (first.id[:12], first)):
        assert artifact(reference, project=tmp_path).path == found.path == tmp_path / "arenas" / found.id[:16]
        main(["path", reference, "--project", str(tmp_path)])
        assert capsys.readouterr().out == f"{found.path}\n"
    open_arena(project=tmp_path)  # opened again, it is the latest
    assert artifact("arena:latest", project=tmp_path).id == first.id
    main(["show", "--project", str(tmp_path), "--json"])
    assert sorted(one["kind"] for one in json.loads(capsys.readouterr().out)) == ["arena", "arena", "eval", "run"]
    main(["show", "arena:latest", "--project", str(tmp_path)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "asked Which sounds more like me? votes 3 result Not measured: 3 votes" in shown
    (first.path / "pairs.jsonl").write_bytes(b"")
    with pytest.raises(ArtifactError, match="damaged"):
        artifact(first.id, project=tmp_path)


def test_of_several_arenas_of_a_run_the_one_finished_last_counts_and_the_others_are_named(tmp_path: Path) -> None:
    first = made_arena(tmp_path)
    store, run = Store(tmp_path / ".tunesmith"), Store(tmp_path / ".tunesmith").resolve("run:latest")
    assert votes_on(store, run) is None and votes_id(store, run) == ""
    cast_all(first, most=3)
    held = votes_on(store, run)
    assert held is not None and held.arena == first.id and held.others == ()  # not finished, and the only one
    second = open_arena(project=tmp_path, seed=8, ask="Which is truer?")
    cast_all(second, prefer="base")
    third = open_arena(project=tmp_path, seed=9)
    cast_all(third, most=2)
    before = votes_id(store, run)
    held = votes_on(store, run)
    assert held is not None and (held.arena, held.ask, len(held.ballots)) == (second.id, "Which is truer?", 22)
    noted = {one.arena: (one.votes, one.state, one.better, one.outcome) for one in held.others}
    assert noted == {
        first.id: (3, "not measured", None, "not finished"),
        third.id: (2, "not measured", None, "not finished"),
    }
    cast_all(third)
    held = votes_on(store, run)
    assert held is not None and held.arena == third.id and votes_id(store, run) != before
    assert {one.arena: one.outcome for one in held.others} == {first.id: "not finished", second.id: "prefers base"}
    assert f"arena {third.id[:8]}; not counted: {first.id[:8]} (3 votes, not finished), " in held.said


def test_an_arena_without_a_vote_between_base_and_tuned_holds_none(tmp_path: Path) -> None:
    evaluated(tmp_path, systems=("base", "prompted", "tuned"))
    arena = open_arena(project=tmp_path, systems=("base", "prompted", "tuned"))
    while (shown := arena.showing("me")) is not None:
        choice = "skip" if shown.pair.systems == {"base", "tuned"} else "left"
        arena.cast("me", shown.pair.id, choice, again=shown.again)  # type: ignore[arg-type]
    store = Store(tmp_path / ".tunesmith")
    assert arena.ballots() and votes_on(store, store.resolve("run:latest")) is None
