"""Promises of comparing systems: any metric, several files, floors, what is refused, and what is said before the numbers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from shared_paths import material
from tunesmith.core.errors import EvaluationError
from tunesmith.eval.compare import compare_files
from tunesmith.eval.floors import FLOORS
from tunesmith.eval.metrics.voice import Writing
from tunesmith.eval.stats import holm

Row = dict[str, Any]
SUBJECTS = ("kettle", "hinge", "drawer", "clock", "glue", "torch", "knife", "window", "radio", "chair", "umbrella", "tap")


def parts(subject: str) -> str:
    """More words for some subjects than for others, so that scores vary from document to document."""
    return "".join(f" with {subject}part{number}" for number in range(SUBJECTS.index(subject) % 4))


def rows(answer: str, *, each: int = 2, **more: object) -> list[Row]:
    """Two questions on each of twelve subjects; `answer` may use {subject} and {n}."""
    return [
        {
            "id": f"{subject}-{n}",
            "prompt": f"What about the {subject}, question {n}?",
            "reference": f"The {subject} has a {subject}spring, a {subject}pin and a {subject}cap; oil {n}{parts(subject)}.",
            "prediction": answer.format(subject=subject, n=n),
            "group": subject,
            "finish_reason": "stop",
            **more,
        }
        for subject in SUBJECTS
        for n in range(each)
    ]


def write(path: Path, content: list[Row]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in content))
    return path


GOOD = "The {subject} has a {subject}spring, a {subject}pin and a {subject}cap."
FAIR, POOR = "Oil the {subject}.", "Ask your neighbour, please."


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{name}.jsonl", rows(text)) for name, text in (("poor", POOR), ("fair", FAIR), ("good", GOOD))]


def warned(result: dict[str, Any], words: str) -> bool:
    return any(words in warning for warning in result["warnings"])


# --- several systems, any metric --------------------------------------------------------------------------------------


def test_every_pair_of_three_files_is_compared_and_p_is_adjusted_over_all_of_them(three: list[Path]) -> None:
    result = compare_files(three, draws=500)
    pairs = result["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("poor.jsonl", "fair.jsonl"),
        ("poor.jsonl", "good.jsonl"),
        ("fair.jsonl", "good.jsonl"),
    ]
    assert all(pair["mean"] > 0 for pair in pairs)
    assert [pair["p_holm"] for pair in pairs] == holm([pair["p"] for pair in pairs])
    assert result["difference"] == {key: pairs[0][key] for key in ("mean", "ci", "p")}
    assert [system["name"] for system in result["systems"]] == ["poor.jsonl", "fair.jsonl", "good.jsonl"]


@pytest.mark.parametrize(
    "metric", ["rouge_1", "rouge_l", "token_f1", "normalized_match", "entity_f1", "json_valid", "accuracy"]
)
def test_any_metric_of_answers_can_be_compared(metric: str, three: list[Path]) -> None:
    assert compare_files(three, metric=metric, draws=300)["metric"] == metric


@pytest.mark.parametrize("metric", ["chrf", "bleu"])
def test_the_metrics_of_sacrebleu_can_be_compared(metric: str, three: list[Path]) -> None:
    pytest.importorskip("sacrebleu")
    assert compare_files(three, metric=metric, draws=300)["pairs"][1]["mean"] > 0


def test_a_score_of_all_answers_has_an_interval_by_documents(tmp_path: Path) -> None:
    def labelled(right: float, seed: int) -> list[Row]:
        rng = np.random.default_rng(seed)
        found = rows("x")
        for number, row in enumerate(found):
            row["reference"] = "cold" if number % 3 else "warm"
            row["prediction"] = row["reference"] if rng.random() < right else "no idea"
        return found

    files = [write(tmp_path / "a.jsonl", labelled(0.4, 1)), write(tmp_path / "b.jsonl", labelled(0.95, 2))]
    result = compare_files(files, metric="macro_f1", draws=300)
    assert result["difference"]["mean"] > 0.2 and result["difference"]["p"] < 0.05
    low, high = result["b"]["ci"]
    assert 0 <= low <= result["b"]["mean"] <= high <= 1
    assert result["length_matched"]["difference"]["mean"] is None  # a trimmed label is not a label
    cold, warm = result["systems"][1]["classes"]
    assert (cold["label"], cold["support"], warm["label"], warm["support"]) == ("cold", 16, "warm", 8)
    assert sum(map(sum, result["systems"][1]["confusion"]["counts"])) == 24


def test_code_is_run_only_if_asked_for(tmp_path: Path) -> None:
    right, wrong = (
        write(tmp_path / f"{name}.jsonl", rows(text, tests="assert f() == 1"))
        for name, text in (("right", "def f(): return 1"), ("wrong", "def f(): return 2"))
    )
    off = compare_files([wrong, right], metric="code_passes", draws=300)
    assert off["n"] == 0 and off["difference"]["mean"] is None and warned(off, "has to be asked for")


@pytest.mark.slow
def test_code_that_passes_its_tests_scores(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"{name}.jsonl", rows(text, each=1, tests="assert f() == 1")[:6])
        for name, text in (("wrong", "def f(): return 2"), ("right", "def f(): return 1"))
    ]
    result = compare_files(files, metric="code_passes", run_code=True, draws=300)
    assert (result["a"]["mean"], result["b"]["mean"]) == (0.0, 1.0)


def test_the_voice_is_learned_from_the_training_rows_and_checked(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")

    def prose(kind: str, seed: int) -> str:
        rng = np.random.default_rng(seed)
        short = ("I took the {}. It was mine!", "So I went there. Not the {}.", "It broke, the {}. Again!")
        long = (
            "However, the {}, which had been there for a while, was rather worn, and one might wonder whether it would do.",
        )
        return " ".join(rng.choice(short if kind == "own" else long).format(rng.choice(SUBJECTS)) for _ in range(14))

    def answers(kind: str, seed: int) -> list[Row]:
        found = rows("x")
        return [{**row, "prediction": prose(kind, seed + number)} for number, row in enumerate(found)]

    files = [write(tmp_path / "base.jsonl", answers("base", 0)), write(tmp_path / "tuned.jsonl", answers("own", 500))]
    train = [Writing(text=prose("own", 1000 + number), document=f"post {number // 2}") for number in range(24)]
    result = compare_files(files, metric="voice", train=train, draws=300)
    assert result["check"]["reason"] == "" and result["check"]["auc"] > 0.9
    assert result["a"]["mean"] < 0.3 < 0.7 < result["b"]["mean"] and result["floors"] == {}
    several = [Writing(text=one.text, document=one.document, author=one.document) for one in train]
    unknown = compare_files(files, metric="voice", train=several, draws=300)
    assert unknown["b"]["mean"] is None and warned(unknown, "that is not one voice")
    with pytest.raises(EvaluationError, match="has to be learned first"):
        compare_files(files, metric="voice")


def test_a_metric_of_probabilities_is_refused(three: list[Path]) -> None:
    with pytest.raises(EvaluationError, match="cannot be computed from answers alone"):
        compare_files(three, metric="bits_per_byte")


def test_several_references_may_be_given(tmp_path: Path) -> None:
    content = rows(GOOD)
    for row in content:
        row["references"] = ["nothing of the kind", row.pop("reference")]
    path = write(tmp_path / "a.jsonl", content)
    assert compare_files([path, path], draws=300)["a"]["mean"] > 0.4


def test_a_metric_that_needs_no_reference_takes_rows_without_one(tmp_path: Path) -> None:
    content = rows('{{"n": {n}}}')
    for row in content:
        del row["reference"]
    path = write(tmp_path / "a.jsonl", content)
    result = compare_files([path, path], metric="json_valid", draws=300)
    assert result["a"]["mean"] == 1.0 and result["floors"] == {}
    with pytest.raises(EvaluationError, match="missing reference"):
        compare_files([path, path])


# --- files ------------------------------------------------------------------------------------------------------------


def test_gzip_is_known_by_content(three: list[Path], tmp_path: Path) -> None:
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(three[0].read_bytes()))
    plain, read = compare_files(three[:2], draws=300), compare_files([packed, three[1]], draws=300)
    assert read["difference"] == plain["difference"]
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(EvaluationError, match="ends too early"):
        compare_files([packed, three[1]])


def test_the_document_may_be_named_in_another_field(tmp_path: Path) -> None:
    content = [{**row, "post": row["group"], "group": row["id"]} for row in rows(GOOD)]
    path, other = (
        write(tmp_path / "a.jsonl", content),
        write(tmp_path / "b.jsonl", [{**row, "prediction": POOR} for row in content]),
    )
    assert compare_files([path, other], draws=300)["num_groups"] == 24
    assert compare_files([path, other], group="post", draws=300)["num_groups"] == 12
    with pytest.raises(EvaluationError, match="24 of 24 rows have no author"):
        compare_files([path, other], group="author")


def refused(tmp_path: Path, content: list[Row], message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        compare_files([write(tmp_path / "a.jsonl", rows(GOOD)), write(tmp_path / "b.jsonl", content)], draws=300)
    assert caught.value.problems[0].hint and caught.value.problems[0].expected


def test_other_prompts_under_the_same_ids_are_refused(tmp_path: Path) -> None:
    content = rows(GOOD)
    content[3]["prompt"] = "Another question?"
    refused(tmp_path, content, r"b\.jsonl:4: the prompt of 'hinge-1' differs")


def test_a_group_on_half_of_the_rows_is_refused(tmp_path: Path) -> None:
    content = rows(GOOD)
    for row in content[::2]:
        del row["group"]
    refused(tmp_path, content, r"b\.jsonl:1: 12 of 24 rows have no group")


def test_an_id_twice_is_refused(tmp_path: Path) -> None:
    content = rows(GOOD)
    refused(tmp_path, [*content, content[0]], "this id is already on line 1")


def test_one_item_and_one_file_are_refused(tmp_path: Path, three: list[Path]) -> None:
    one = write(tmp_path / "one.jsonl", rows(GOOD)[:1])
    with pytest.raises(EvaluationError, match="one item says nothing"):
        compare_files([one, one])
    with pytest.raises(EvaluationError, match="nothing to be compared with"):
        compare_files(three[:1])


# --- floors -----------------------------------------------------------------------------------------------------------


def test_floors_are_given_with_every_score(three: list[Path]) -> None:
    result = compare_files(
        three,
        draws=300,
        train=[Writing(text=text, document=text) for text in ("The kettle has a spring.", "The glue has a cap and oil.")],
    )
    assert set(result["floors"]) == set(FLOORS)
    assert all(floor["ci"] and floor["meaning"] for floor in result["floors"].values())
    assert "nearest_training_answer" not in compare_files(three, draws=300)["floors"]


def test_a_bag_of_frequent_words_does_not_beat_its_floor_and_is_named(tmp_path: Path, three: list[Path]) -> None:
    """The attack: one fixed bag of words as every answer looks like a gain over a poor base."""
    bag = write(tmp_path / "bag.jsonl", rows("a and has oil the with"))
    result = compare_files([three[0], bag], draws=500)
    assert result["difference"]["mean"] > 0.25 and result["difference"]["p"] < 0.01
    assert "frequent_words" in result["systems"][1]["not_above"]
    assert warned(result, "bag.jsonl does not beat trivial answers: frequent words (")


def test_a_system_that_knows_the_question_beats_the_floors(tmp_path: Path, three: list[Path]) -> None:
    # answers of several lengths: if all documents had one score, there would be no spread to make an interval from
    told = [{**row, "prediction": f"{row['prediction']}{' Oil it.' * (n // 2 % 3)}"} for n, row in enumerate(rows(GOOD))]
    result = compare_files([*three[:2], write(tmp_path / "told.jsonl", told)], draws=500)
    assert result["systems"][2]["not_above"] == []
    assert not warned(result, "told.jsonl does not beat")


def test_answers_that_ignore_the_question_have_no_specificity_and_are_named(tmp_path: Path, three: list[Path]) -> None:
    constant = write(tmp_path / "constant.jsonl", rows("The kettle has a kettlespring, a kettlepin and a kettlecap."))
    result = compare_files([three[0], constant, three[2]], draws=500)
    _, same, good = (system["specificity"] for system in result["systems"])
    assert good["ci"][0] > 0.2 and abs(same["mean"]) < 0.01
    assert warned(result, "the score of constant.jsonl does not show that it answers the questions")
    assert not warned(result, "the score of good.jsonl does not show")


# --- warnings ---------------------------------------------------------------------------------------------------------


def crippled(kind: str) -> list[Row]:
    found = rows(GOOD)
    for row in found[: round(0.79 * len(found))]:
        if kind == "cut":
            row["finish_reason"] = "length"
        else:
            row["prediction"] = {"empty": " ", "refusals": "I'm sorry, but I can’t help with that."}[kind]
    return found


@pytest.mark.parametrize("kind", ["cut", "empty", "refusals"])
def test_a_crippled_reference_system_leads_the_page(kind: str, tmp_path: Path) -> None:
    files = [write(tmp_path / "base.jsonl", crippled(kind)), write(tmp_path / "tuned.jsonl", rows(GOOD + " Really."))]
    result = compare_files(files, draws=300)
    assert result["warnings"][0].startswith(f"79 % of the answers of base.jsonl are {kind}: a gain over it may be nothing else")
    assert not warned(compare_files([files[1], files[1]], draws=300), "of the answers of")


def test_the_same_item_under_many_ids_is_warned_about(tmp_path: Path) -> None:
    def many(answer: str) -> list[Row]:
        one = rows(answer)[0]
        return [{**one, "id": str(number), "group": f"document {number}"} for number in range(40)]

    result = compare_files([write(tmp_path / "a.jsonl", many(POOR)), write(tmp_path / "b.jsonl", many(GOOD))], draws=300)
    assert warned(result, "40 of 40 items are copies of 1 (one is there 40 times)")


def test_samples_of_one_question_in_one_group_are_no_copies(tmp_path: Path) -> None:
    content = [{**row, "id": f"{row['id']}#{draw}"} for row in rows(GOOD) for draw in (1, 2, 3)]
    path = write(tmp_path / "a.jsonl", content)
    assert not warned(compare_files([path, path], draws=300), "copies")


def test_no_group_is_warned_about_where_prompts_or_references_repeat(tmp_path: Path) -> None:
    content = rows(GOOD)
    for row in content:
        del row["group"]
    apart = write(tmp_path / "apart.jsonl", content)
    assert not warned(compare_files([apart, apart], draws=300), "no group is given")
    for row in content:
        row["prompt"] = row["prompt"].split(",")[0]
    same = write(tmp_path / "same.jsonl", content)
    assert warned(compare_files([same, same], draws=300), "no group is given, but 24 of 24 prompts repeat")


def test_ties_on_every_item_are_warned_about(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.jsonl", rows(GOOD)), write(tmp_path / "b.jsonl", rows(FAIR))]
    assert warned(compare_files(files, metric="exact_match", draws=300), "same score on every item")
    assert not warned(compare_files(files, draws=300), "same score on every item")


def test_the_confounds_of_the_seed_s_answers_lead_the_page(tmp_path: Path) -> None:
    """Its questions and references with a base whose answers are cut as the recorded ones were: 79 %."""
    strings = json.loads((material("seed-qa") / "test.json").read_text(encoding="utf-8"))
    base, tuned = [], []
    for number, text in enumerate(strings):
        question = text.split("<|user|>\n")[1].split("<|end|>")[0]
        reference = text.split("<|assistant|>\n")[1].split("<|end|>")[0]
        item = {"id": number, "prompt": question, "reference": reference, "finish_reason": "stop"}
        words = reference.split()
        cut = number < 0.79 * len(strings)
        base.append(
            {**item, "prediction": " ".join([*words[::3], *question.split()]), "finish_reason": "length" if cut else "stop"}
        )
        tuned.append({**item, "prediction": " ".join(words[::2])})
    result = compare_files([write(tmp_path / "base.jsonl", base), write(tmp_path / "tuned.jsonl", tuned)], draws=500)
    assert result["n"] == 212
    assert result["warnings"][0].startswith("79 % of the answers of base.jsonl are cut: a gain over it may be nothing else")
    assert "At equal length tuned.jsonl gains" in result["warnings"][0]
