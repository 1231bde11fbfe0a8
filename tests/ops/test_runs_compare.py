"""Two runs side by side, and the one to take: intervals only where items are paired, and size has to pay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import orjson
import pytest
from judged_runs import add_judged_run
from project_fakes import TUNED_WELL, make_project

from tunesmith.api import compare_runs, recommend_run, run_curves, runs
from tunesmith.cli.main import main
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError

MUCH_BETTER, HARDLY_BETTER = {**TUNED_WELL, "tuned": 0.9, "merged": 0.9}, {**TUNED_WELL, "tuned": 1.09, "merged": 1.09}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Small and good, ten times as large and hardly better, a hundred times as large and much better."""
    folder = tmp_path_factory.mktemp("three")
    store = make_project(folder)
    ids = [store.resolve("run:latest").id]
    ids.append(add_judged_run(store, HARDLY_BETTER, rank=32, trained=640, noise=0.06))
    ids.append(add_judged_run(store, MUCH_BETTER, rank=64, trained=6400))
    return folder, ids


def test_the_gain_of_one_run_over_another_is_paired_by_item(three: tuple[Path, list[str]]) -> None:
    folder, (small, _, large) = three
    found = compare_runs(small, large, folder)
    assert [(c.name, c.a, c.b) for c in found.settings] == [("method.rank", 8, 64)] and found.same_data
    gain = found.paired.gains["bits_per_byte"]
    scores = []
    for row in (found.a, found.b):
        artifact = Store(folder / ".tunesmith").resolve(str(row.evaluation))
        lines = [orjson.loads(line) for line in (artifact.path / "scores-tuned.jsonl").read_bytes().splitlines()]
        scores.append({one["item_id"]: one["value"] for one in lines if one["metric"] == "bits_per_byte"})
    by_hand = np.mean([scores[0][id] - scores[1][id] for id in scores[0]])  # documents have as many items each
    assert gain.gain == pytest.approx(by_hand) and gain.ci and gain.ci[0] < by_hand < gain.ci[1]
    assert found.paired.items == 30 and found.paired.documents == 10 and gain.better == 30
    reverse = compare_runs(large, small, folder).paired.gains["bits_per_byte"]
    assert reverse.gain == pytest.approx(-by_hand)
    page = Path(found.page).read_text()
    assert "What differed" in page and page.count("<svg") == 1 and "<script" not in page
    assert page.count("there is no spread to estimate an interval from") == 1  # said once, with the metrics that it is about
    assert "Not measured for word overlap, ROUGE-L, exact match: all 10 documents" in page


def test_without_the_same_items_nothing_is_measured_and_the_reason_is_given(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    first, other = store.resolve("run:latest").id, add_judged_run(store, None, rank=32, trained=640, dataset="f" * 64)
    found = compare_runs(first, other, tmp_path)
    assert found.paired.gains == {} and "not evaluated" in found.paired.reason and found.same_data is False
    assert {change.name for change in found.data} >= {"dataset"}
    assert recommend_run(tmp_path).id == first


def test_an_item_whose_text_was_changed_is_left_out_and_damage_is_found(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    first, other = store.resolve("run:latest").id, add_judged_run(store, MUCH_BETTER, rank=32, trained=640)
    evidence = store.resolve("eval:latest").path / "evidence.json"
    evidence.write_bytes(evidence.read_bytes().replace(b"kettle", b"bottle"))
    found = compare_runs(first, other, tmp_path)
    assert found.paired.gains == {} and "damaged" in found.paired.reason
    metrics = next(store.root.glob(f"runs/{first[:16]}/metrics.jsonl"))
    metrics.write_bytes(metrics.read_bytes()[:-3])
    with pytest.raises(ArtifactError, match="this run is damaged"):
        compare_runs(first, other, tmp_path)


def test_a_larger_run_must_gain_five_percent_significantly(three: tuple[Path, list[str]]) -> None:
    folder, (small, middle, large) = three
    best = recommend_run(folder)
    assert best.id == large and {(s.smaller, s.worth) for s in best.steps} == {(small, True), (middle, True)}
    assert best.level == pytest.approx(0.975)  # two comparisons
    kept = recommend_run(folder, filters=["rank<=32"])
    assert kept.id == small and "not worth" in kept.why
    (step,) = kept.steps
    assert step.worth is False and step.ci is not None and 0 < (step.relative or 0) < 0.05
    assert [c.trained for c in kept.considered] == [64, 640] and all(c.gain_per_hour for c in kept.considered)


def test_an_unmeasured_gain_keeps_the_smaller_run_and_says_so(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    small, large = store.resolve("run:latest").id, add_judged_run(store, MUCH_BETTER, rank=64, trained=6400)
    evidence = store.resolve("eval:latest").path / "evidence.json"
    evidence.write_bytes(evidence.read_bytes() + b"\n")
    found = recommend_run(tmp_path)
    assert found.id == small and found.steps[0].worth is None and found.steps[0].larger == large
    assert "not measured" in found.steps[0].why and "could not be compared" in found.why


def test_without_a_run_that_ships_none_is_recommended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_project(tmp_path, bits=None)
    with pytest.raises(SystemExit) as ended:
        main(["runs", "recommend", "--project", str(tmp_path)])
    assert ended.value.code == 3 and "no run was judged SHIP" in capsys.readouterr().err


def test_curves_are_laid_over_each_other_on_a_page(three: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, ids = three
    found = run_curves(*ids, projects=[folder], out=tmp_path / "deep" / "curves.html")
    page = Path(found.page).read_text()
    assert found.losses[ids[1][:8]] == [2.0, 1.4] and all(id[:8] in page for id in ids) and page.count("<svg") == 1
    assert "<th>method.rank</th>" in page and "<th>train.epochs</th>" not in page  # only what differs tells them apart
    with pytest.raises(ArtifactError, match="both are the same run"):
        compare_runs(ids[0], ids[0], folder)
    with pytest.raises(ArtifactError, match="laid over each other"):
        run_curves(ids[0], projects=[folder])


def test_the_commands_print_what_the_functions_return(
    three: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, (small, _, large) = three
    monkeypatch.setenv("COLUMNS", "80")
    main(["runs", "compare", small[:8], large[:8], "--project", str(folder)])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80 and "rank" in shown and "[+" in shown and "▁" in shown
    main(["runs", "compare", small[:8], large[:8], "--project", str(folder), "--json"])
    assert json.loads(capsys.readouterr().out)["paired"]["items"] == 30
    with pytest.raises(SystemExit) as ended:
        main(["runs", "recommend", "--project", str(folder), "--json"])
    assert ended.value.code == 0 and json.loads(capsys.readouterr().out)["id"] == large


@pytest.mark.parametrize(
    "words", [["compare", "aa"], ["curves", "aa"], ["recommend", "aa"], ["remove"], ["compare", "zz", "run:latest"]]
)
def test_a_wrong_use_is_an_error_with_a_hint(
    three: tuple[Path, list[str]], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["runs", *words, "--project", str(three[0])])
    assert "hint:" in capsys.readouterr().err
    assert len(runs(three[0]).rows) == 3
