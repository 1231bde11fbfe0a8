"""Local lm-eval tasks as suites; tasks that run code, fetch data or cannot be scored are refused before lm-eval sees them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.suites.lm_eval_tasks import load_lm_eval_task
from tunesmith.eval.suites.run import run_suite
from tunesmith.models.generation.requests import Completion

SUMS: list[dict[str, object]] = [
    {"q": "2 + 2", "a": "4"},
    {"q": "30 * 40", "a": "1,200"},
    {"q": "Name of the sign +", "a": "plus"},
]
TREES: list[dict[str, object]] = [
    {"q": "An evergreen?", "c": ["oak", "fir"], "a": 1},
    {"q": "Acorns?", "c": ["oak", "fir", "elm"], "a": 0},
]
SUM_TASK = """
task: my_sums
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "What is {{q}}?"
doc_to_target: "{{a}}"
generation_kwargs: {until: ["\\n"]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 2.0}
"""
TREE_TASK = """
task: my_trees
dataset_path: json
dataset_kwargs: {data_files: {validation: data.jsonl}}
validation_split: validation
output_type: multiple_choice
description: "About trees. "
doc_to_text: q
doc_to_target: a
doc_to_choice: c
metric_list: [{metric: acc}]
"""


def task(folder: Path, text: str, rows: list[dict[str, object]]) -> Path:
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip("needs the extra lm-eval")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")


@pytest.mark.usefixtures("installed")
@pytest.mark.filterwarnings("ignore")
def test_a_task_with_free_answers_is_a_suite_of_numbers_and_texts(tmp_path: Path) -> None:
    suite = load_lm_eval_task(task(tmp_path, SUM_TASK, SUMS))
    assert (suite.name, suite.version) == ("my_sums", "2.0")
    assert [(item.question, item.references, item.scorer) for item in suite.items] == [
        ("What is 2 + 2?", ("4",), "numeric"),
        ("What is 30 * 40?", ("1,200",), "numeric"),
        ("What is Name of the sign +?", ("plus",), "exact"),
    ]
    run = run_suite(suite, lambda asked: [Completion("= 4.", "stop", 2) for _ in asked], system="base", fingerprint="f")
    assert [score.value for score in run.scores] == [1.0, 0.0, 0.0]


@pytest.mark.usefixtures("installed")
@pytest.mark.filterwarnings("ignore")
def test_a_task_with_choices_is_a_suite_of_letters(tmp_path: Path) -> None:
    suite = load_lm_eval_task(task(tmp_path, TREE_TASK, TREES))
    first, second = suite.items
    assert first.question == "About trees. An evergreen?\nAnswer with the letter of the right option.\nA. oak\nB. fir"
    assert first.references == ("fir",) and second.references == ("oak",)
    run = run_suite(suite, lambda asked: [Completion("B. fir", "stop", 2) for _ in asked], system="base", fingerprint="f")
    assert [score.value for score in run.scores] == [1.0, 0.0]


@pytest.mark.usefixtures("installed")
@pytest.mark.filterwarnings("ignore")
def test_a_template_that_reaches_for_python_is_refused(tmp_path: Path) -> None:
    evil = SUM_TASK.replace("What is {{q}}?", "{{ q.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(EvaluationError, match="SecurityError"):
        load_lm_eval_task(task(tmp_path, evil, SUMS))
    from lm_eval import utils

    assert utils.apply_template("{{ q }}", {"q": "own again"}) == "own again"
    assert type(utils.env).__name__ == "Environment"


FAULTS = {
    "code": (SUM_TASK.replace('"{{a}}"', "!function evil.run"), "!function"),
    "hidden code": (SUM_TASK.replace("{metric: exact_match,", "{metric: !function evil.run,"), "!function"),
    "processing": (SUM_TASK + "process_docs: 'x'\n", "process_docs"),
    "include": (SUM_TASK + "include: other.yaml\n", "include"),
    "hub data": (SUM_TASK.replace("dataset_path: json", "dataset_path: gsm8k"), "local data"),
    "web data": (SUM_TASK.replace("test: data.jsonl", "test: 'https://example.org/data.jsonl'"), "files on this machine"),
    "missing data": (SUM_TASK.replace("test: data.jsonl", "test: none.jsonl"), "files on this machine"),
    "likelihood": (SUM_TASK.replace("generate_until", "loglikelihood_rolling"), "output_type"),
    "metric": (SUM_TASK.replace("exact_match", "bleu"), "bleu"),
    "no task": ("group: x\n", "the key `task`"),
    "python object": ("task: !!python/object/apply:os.getcwd []\n", "YAML"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_runs_code_fetches_data_or_cannot_be_scored_is_refused(tmp_path: Path, name: str) -> None:
    if name in ("web data", "missing data") and importlib.util.find_spec("lm_eval") is None:
        pytest.skip("needs the extra lm-eval")
    text, words = FAULTS[name]
    with pytest.raises(EvaluationError) as error:
        load_lm_eval_task(task(tmp_path, text, SUMS))
    assert words in str(error.value)


def test_two_tasks_in_a_folder_must_be_told_apart(tmp_path: Path) -> None:
    task(tmp_path, SUM_TASK, SUMS)
    (tmp_path / "other.yaml").write_text(TREE_TASK, encoding="utf-8")
    with pytest.raises(EvaluationError, match="one file with the key"):
        load_lm_eval_task(tmp_path)


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("lm_eval") is not None:
        pytest.skip("lm-eval is installed")
    with pytest.raises(EvaluationError, match=r"tunesmith\[lm-eval\]"):
        load_lm_eval_task(task(tmp_path, SUM_TASK, SUMS))
