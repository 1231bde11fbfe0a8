"""The command line as people and scripts meet it: exit codes, JSON on stdout, talk on stderr, errors in four parts."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes import copy_base, write_posts
from shared_paths import material
from tunesmith import __version__
from tunesmith.cli.main import main, verb_helps
from tunesmith.core.artifacts import Store
from tunesmith.pipeline.recipe_file import load_recipe

QUICK = (
    "build.passage_words=40",
    "split.val=0.2",
    "split.test=0.3",
    "method.rank=4",
    "train.max_steps=6",
    "train.evaluate_every=3",
    "train.learning_rate=0.01",
    "train.batch_examples=4",
    "train.precision=float32",
    "eval.max_new_tokens=6",
    "eval.draws=300",
    "eval.suites=[]",
)
VERBS = sorted(verb_helps())


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Tunesmith = Callable[..., Said]


@pytest.fixture
def tunesmith(capsys: pytest.CaptureFixture[str]) -> Tunesmith:
    def call(*arguments: str | Path) -> Said:
        try:
            main([str(a) for a in arguments])
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return Said(int(code), said.out, said.err)

    return call


def quick(base: Path) -> list[str | Path]:
    return ["--base", base, *(part for setting in QUICK for part in ("--set", setting))]


@pytest.fixture(scope="module")
def walked(tiny_path: Path, posts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which `tunesmith run` has been through."""
    root = tmp_path_factory.mktemp("cli-project")
    with pytest.raises(SystemExit):
        main([str(a) for a in ("run", "--source", posts, "--project", root, *quick(tiny_path))])
    return root


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_names_every_verb(tunesmith: Tunesmith) -> None:
    said = tunesmith("--help")
    assert said.code == 0 and all(re.search(rf"^\s+{verb}\b", said.out, re.MULTILINE) for verb in VERBS)
    assert {"run", "demo", "init", "plan", "chat", "compare", "check", "show", "path"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example_to_paste(verb: str, tunesmith: Tunesmith) -> None:
    said = tunesmith(verb, "--help")
    assert said.code == 0 and re.search(rf"Example:\s.*tunesmith\s+{verb}\b", " ".join(said.out.split()))


def test_the_version_is_told(tunesmith: Tunesmith) -> None:
    said = tunesmith("--version")
    assert (said.code, said.out) == (0, f"tunesmith {__version__}\n")


def test_a_source_without_its_option_is_answered_with_the_option(tunesmith: Tunesmith) -> None:
    said = tunesmith("run", "./posts")
    assert said.code == 1 and said.err.splitlines()[-1] == "hint:  tunesmith run --source ./posts"


def test_help_imports_no_torch() -> None:
    code = "import sys; from tunesmith.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print('HEAVY', sorted({'torch', 'transformers', 'peft', 'numpy', 'pydantic'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stderr and "demo" in done.stdout


# --- pipeline ---------------------------------------------------------------------------------------------------------

VERDICT = {"verdict", "exit_code", "sentence", "gates", "not_measured", "looks", "effective_documents", "advice"}
CONTRACT = {*VERDICT, "seconds", "report", "dataset", "run", "comparison"}
GATE = {"name", "required", "rule", "state", "evidence", "value", "threshold", "interval", "warning", "loosened"}
EXIT = {"SHIP": 0, "DON'T SHIP": 2, "CAN'T TELL": 3}


def test_run_ends_with_one_json_object_of_exactly_the_contract(
    walked: Path, tiny_path: Path, posts: Path, tunesmith: Tunesmith
) -> None:
    said = tunesmith("run", "--source", posts, "--project", walked, "--json", *quick(tiny_path))
    assert set(said.json) == CONTRACT and len(said.out.splitlines()) == 1
    assert said.code == EXIT[said.json["verdict"]]
    assert Path(said.json["report"]).read_text().lower().startswith("<!doctype html>")
    assert Path(said.json["dataset"]).is_dir() and Path(said.json["run"]).is_dir()
    comparison = said.json["comparison"]
    assert {"metric", "n", "a", "b", "difference", "relative", "cut", "length_matched"} <= set(comparison)
    assert {"mean", "median", "std", "min", "max", "ci"} == set(comparison["a"]) == set(comparison["b"])


def test_the_verdict_of_an_evaluation_is_shown_computed_again_and_printed_by_contract(
    walked: Path, tiny_path: Path, posts: Path, tunesmith: Tunesmith
) -> None:
    said = tunesmith("eval", "--source", posts, "--project", walked, "--json", *quick(tiny_path))
    shown = tunesmith("verdict", "--verify", "--project", walked, "--json")
    assert shown.json["different"] == [] and set(shown.json) == {*VERDICT, "verified", "different"}
    assert {name: said.json[name] for name in VERDICT} == {name: shown.json[name] for name in VERDICT}
    assert all(set(gate) == GATE for gate in shown.json["gates"]) and shown.code == said.code == EXIT[shown.json["verdict"]]
    seen = tunesmith("verdict", "--verify", "--project", walked)
    assert shown.json["verdict"] in seen.err and "answers_the_question" in seen.out and "all equal to the byte" in seen.err


def test_a_run_tells_its_stages_on_stderr_and_nothing_on_stdout(
    walked: Path, tiny_path: Path, posts: Path, tunesmith: Tunesmith
) -> None:
    said = tunesmith("run", "--source", posts, "--project", walked, *quick(tiny_path))
    assert said.out == "" and all(
        word in said.err for word in ("documents", "dataset", "plan", "train", "evaluate", "report.html")
    )


@pytest.mark.parametrize("verb", ["ingest", "build", "train", "merge"])
def test_a_verb_that_stops_at_a_stage_prints_its_artifact(
    verb: str, walked: Path, tiny_path: Path, posts: Path, tunesmith: Tunesmith
) -> None:
    said = tunesmith(verb, "--source", posts, "--project", walked, "--json", *quick(tiny_path))
    assert said.code == 0 and Path(said.json["artifact"]).is_dir()


def test_the_plan_as_text_and_as_json(walked: Path, tiny_path: Path, posts: Path, tunesmith: Tunesmith) -> None:
    arguments = ("plan", "--source", posts, "--project", walked, *quick(tiny_path))
    said = tunesmith(*arguments, "--json")
    assert said.code == 0 and said.json["numbers"]["steps"] == 6
    text = tunesmith(*arguments).out
    assert all(line["name"] in text for line in said.json["lines"])


def test_bad_files_among_good_ones_are_named_and_the_good_ones_used(
    tiny_path: Path, tmp_path: Path, tunesmith: Tunesmith
) -> None:
    posts = write_posts(tmp_path / "posts")
    (posts / "broken.md").write_bytes(b"\x00\xff\xfe\x00" * 300)
    (posts / "torn.md").write_text("---\ntitle: [unclosed\n---\n\nSome words that would have been a post.\n")
    said = tunesmith("ingest", "--source", posts, "--project", tmp_path, "--json", *quick(tiny_path))
    assert said.code == 0 and said.json["documents"] >= 14
    assert {Path(f["source"]).name for f in said.json["failed"]} >= {"broken.md"}


# --- errors -----------------------------------------------------------------------------------------------------------


def four_parts(said: Said, code: int = 1, *, count: int = 1) -> None:
    assert said.code == code and "Traceback" not in said.err and said.out == ""
    assert said.err.count("expected ") >= count and said.err.count("hint:  ") == count
    assert len(re.findall(r"^(?:error|blocked) ", said.err, re.MULTILINE)) == count


def nothing_left(root: Path) -> None:
    assert not list(root.rglob(".tmp-*"))


def test_a_missing_folder(tiny_path: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    four_parts(tunesmith("run", "--source", tmp_path / "nowhere", "--project", tmp_path, *quick(tiny_path)))
    nothing_left(tmp_path)


def test_an_empty_folder(tiny_path: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    (tmp_path / "empty").mkdir()
    four_parts(tunesmith("run", "--source", tmp_path / "empty", "--project", tmp_path, *quick(tiny_path)))
    nothing_left(tmp_path)


def test_a_feed_that_is_none(tiny_path: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    (tmp_path / "feed.xml").write_text("this is no feed")
    four_parts(tunesmith("run", "--source", tmp_path / "feed.xml", "--project", tmp_path, *quick(tiny_path)))
    nothing_left(tmp_path)


def test_a_recipe_with_three_mistakes(tmp_path: Path, tunesmith: Tunesmith) -> None:
    file = tmp_path / "tunesmith.yaml"
    file.write_text("sources: [./posts]\ntrain:\n  epochs: -1\n  learning_rat: 1e-4\nsplitt:\n  val: 0.1\n")
    said = tunesmith("run", "--project", tmp_path)
    four_parts(said, count=3)
    assert all(place in said.err.replace("\n", "") for place in (":3:3", ":4:3", ":5:1"))


def test_no_recipe_and_no_source(tmp_path: Path, tunesmith: Tunesmith) -> None:
    four_parts(tunesmith("run", "--project", tmp_path))


def test_a_base_folder_without_weights(tiny_path: Path, posts: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    base = copy_base(tiny_path, tmp_path / "base", without=["*.safetensors"])
    said = tunesmith("run", "--source", posts, "--project", tmp_path, *quick(base))
    assert (
        said.code == 1
        and "Traceback" not in said.err
        and "the base folder has no weights" in said.err
        and "hint:  " in said.err
    )
    nothing_left(tmp_path)


def test_a_base_folder_without_a_chat_template(tiny_path: Path, posts: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    base = copy_base(tiny_path, tmp_path / "base", without=["chat_template.jinja"])
    said = tunesmith("run", "--source", posts, "--project", tmp_path, *quick(base))
    assert said.code == 1 and "Traceback" not in said.err and "the base has no chat template" in said.err
    nothing_left(tmp_path)


def test_too_few_examples(tiny_path: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    said = tunesmith("run", "--source", write_posts(tmp_path / "posts", 2), "--project", tmp_path, *quick(tiny_path))
    assert said.code == 1 and "too few documents to split" in said.err and "Traceback" not in said.err
    nothing_left(tmp_path)


def test_a_blocking_finding_exits_with_2(tiny_path: Path, posts: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    arguments = ("build", "--source", posts, "--project", tmp_path, *quick(tiny_path), "--set", "train.max_tokens=200")
    said = tunesmith(*arguments)
    assert said.code == 2 and "blocked" in said.err and "--allow cut" in said.err
    assert tunesmith(*arguments, "--allow", "cut").code == 0


def test_an_unwritable_project_is_a_message(tiny_path: Path, posts: Path, tmp_path: Path, tunesmith: Tunesmith) -> None:
    (tmp_path / "file").write_text("in the way")
    said = tunesmith("build", "--source", posts, "--project", tmp_path / "file", *quick(tiny_path))
    assert said.code == 1 and "Traceback" not in said.err and "hint:  " in said.err


def test_an_unknown_option_and_an_unknown_verb_exit_without_a_traceback(tunesmith: Tunesmith) -> None:
    for arguments in (["run", "--nonsense"], ["nonsense"]):
        said = tunesmith(*arguments)
        four_parts(said)


def test_our_own_mistake_always_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tunesmith.api import stored

    monkeypatch.setattr(stored, "Store", lambda root: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["show", "--project", str(tmp_path)])


# --- init -------------------------------------------------------------------------------------------------------------


def test_init_writes_a_recipe_that_loads_and_is_not_overwritten(tmp_path: Path, tunesmith: Tunesmith) -> None:
    assert tunesmith("init", "--source", "./my posts", "--project", tmp_path).code == 0
    recipe = load_recipe(tmp_path / "tunesmith.yaml")
    assert recipe.sources == ["./my posts"]
    four_parts(tunesmith("init", "--project", tmp_path))
    assert tunesmith("init", "--project", tmp_path, "--force").code == 0
    assert load_recipe(tmp_path / "tunesmith.yaml").sources == ["./posts"]


def test_the_recipe_that_init_prints_holds_every_knob_and_loads_with_all_of_them_opened(tunesmith: Tunesmith) -> None:
    from tunesmith.pipeline.recipe_file import knobs, recipe_from

    text = tunesmith("init", "--print").out
    assert all(re.search(rf"^#? *{re.escape(k.name.rsplit('.', 1)[-1])}:", text, re.MULTILINE) for k in knobs())
    opened = re.sub(r"^# ?( *[a-z_0-9]+:)", r"\1", text, flags=re.MULTILINE)
    data = yaml.safe_load(opened)
    data["train"].pop("max_steps")  # beside epochs it is an error even at its default
    assert recipe_from(data).model_dump() == recipe_from({"sources": ["./posts"]}).model_dump()


def test_init_from_translates_all_keys_of_the_older_pipeline(tmp_path: Path, tunesmith: Tunesmith) -> None:
    folder = material("seed-qa/config")
    said = tunesmith("init", "--from", folder, "--project", tmp_path)
    assert said.code == 0
    recipe = load_recipe(tmp_path / "tunesmith.yaml")
    assert recipe.base == "microsoft/Phi-3-mini-4k-instruct" and recipe.build.system_prompt.startswith("You are Didier")
    assert (recipe.split.val, recipe.split.test, recipe.train.max_tokens) == (0.1, 0.1, 2048)
    assert (recipe.method.rank, recipe.method.alpha, recipe.method.dropout, recipe.method.layers) == (16, 320.0, 0.1, 32)
    assert (recipe.train.max_steps, recipe.train.batch_examples, recipe.train.learning_rate) == (2000, 4, 1e-5)
    assert (recipe.train.evaluate_every, recipe.train.patience, recipe.train.min_delta) == (50, 5, 0.001)
    assert recipe.train.gradient_checkpointing and recipe.eval.max_new_tokens == 200
    assert all(Path(s).is_file() for s in recipe.sources) and len(recipe.sources) == 3
    for old in ("evaluation.temperature", "metrics.bertscore", "lora.num_layers", "validation"):
        assert f"not carried over: {old}" in said.err


def test_an_older_key_that_is_not_understood_is_an_error(tmp_path: Path, tunesmith: Tunesmith) -> None:
    for name in ("data", "model", "training", "evaluation"):
        (tmp_path / f"{name}_config.yaml").write_text("odd: {key: 1}\n" if name == "model" else "{}\n")
    said = tunesmith("init", "--from", tmp_path, "--project", tmp_path)
    four_parts(said)
    assert "odd.key" in said.err and not (tmp_path / "tunesmith.yaml").exists()
    four_parts(tunesmith("init", "--from", tmp_path / "nowhere", "--project", tmp_path))


# --- compare and check ------------------------------------------------------------------------------------------------


def predictions(file: Path, text: str, count: int = 8) -> Path:
    rows = [
        {"id": str(n), "prompt": "q", "reference": f"the sky is blue {n}.", "prediction": f"{text} {n}.", "group": str(n // 2)}
        for n in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_compare_prints_the_contract(tmp_path: Path, tunesmith: Tunesmith) -> None:
    a, b = predictions(tmp_path / "a.jsonl", "rain"), predictions(tmp_path / "b.jsonl", "the sky is grey")
    said = tunesmith("compare", a, b, "--metric", "word_overlap", "--json", "--draws", "300")
    found = said.json
    assert said.code == 0 and found["metric"] == "word_overlap" and found["n"] == 8
    assert {"metric", "n", "a", "b", "difference", "relative", "cut", "length_matched"} <= set(found)
    assert {"mean", "median", "std", "min", "max", "ci"} <= set(found["a"]) and set(found["cut"]) == {"a", "b"}
    assert {"mean", "ci", "p"} <= set(found["difference"]) and "difference" in found["length_matched"]
    assert found["difference"]["mean"] > 0
    assert "difference" in tunesmith("compare", a, b, "--draws", "300").out


def test_the_predictions_of_an_evaluation_can_be_compared(walked: Path, tunesmith: Tunesmith) -> None:
    folder = Path(tunesmith("path", "eval:latest", "--project", walked).out.strip())
    said = tunesmith(
        "compare", folder / "predictions-base.jsonl", folder / "predictions-tuned.jsonl", "--json", "--draws", "300"
    )
    assert said.code == 0 and said.json["n"] > 3


def test_comparing_a_file_that_is_not_there_is_a_message(tmp_path: Path, tunesmith: Tunesmith) -> None:
    four_parts(tunesmith("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl"))


def test_check_finds_a_copy_between_two_files_and_exits_with_2(tmp_path: Path, tunesmith: Tunesmith) -> None:
    words = "a long enough answer about a very particular kettle that nobody else would write in this way"
    for name in ("train", "test"):
        rows = [{"prompt": f"What about it, {n}?", "completion": f"{words} {n if n else ''}"} for n in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = tunesmith("check", tmp_path / "train.jsonl", tmp_path / "test.jsonl", "--json")
    assert said.code == 2 and said.json["findings"]


# --- show, path, chat -------------------------------------------------------------------------------------------------


def test_show_lists_all_artifacts_and_shows_one(walked: Path, tunesmith: Tunesmith) -> None:
    listed = tunesmith("show", "--project", walked, "--json").json
    assert {row["kind"] for row in listed} == {"documents", "dataset", "run", "use", "model", "eval"}
    for row in listed:
        one = tunesmith("show", row["id"][:12], "--project", walked, "--json").json
        assert one["id"] == row["id"] and one["files"]
        assert row["id"] in tunesmith("show", row["id"][:12], "--project", walked).out
        assert tunesmith("path", row["id"][:12], "--project", walked).out.strip() == row["path"]


def test_show_in_an_empty_project_says_what_to_type(tmp_path: Path, tunesmith: Tunesmith) -> None:
    assert "tunesmith run" in tunesmith("show", "--project", tmp_path).err
    four_parts(tunesmith("show", "beef", "--project", tmp_path))
    four_parts(tunesmith("path", "run:latest", "--project", tmp_path))


def chatting(walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch, typed: str, *how: str) -> Said:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return tunesmith("chat", "--project", walked, "--max-new-tokens", "5", *how)


def test_chat_answers_a_pipe_as_base_tuned_and_merged(
    walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = chatting(walked, tunesmith, monkeypatch, "What of the kettle?\nclear\nAnd now?\nquit\nnever read\n")
    names = [line.partition(":")[0] for line in said.out.splitlines() if re.match(r"(base|tuned|merged):", line)]
    assert said.code == 0 and names.count("base") == names.count("tuned") == names.count("merged") == 2
    assert "forgotten" in said.err


def test_in_chat_tuned_and_merged_say_the_same(walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch) -> None:
    said = chatting(walked, tunesmith, monkeypatch, "What of the kettle?\n")
    answers = dict(re.findall(r"^(base|tuned|merged): (.*)$", said.out, re.MULTILINE))
    assert answers["tuned"] == answers["merged"]


def test_chat_with_a_temperature_draws_by_its_seed(walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = chatting(walked, tunesmith, monkeypatch, "And now?\n", "--greedy")
    drawn, again, other = (
        chatting(walked, tunesmith, monkeypatch, "And now?\n", "--temperature", "2", "--seed", seed) for seed in "112"
    )
    assert "answers are greedy" in greedy.err and "answers are drawn at temperature 2" in drawn.err and "seed 1" in drawn.err
    assert chatting(walked, tunesmith, monkeypatch, "And now?\n", "--temperature", "0").out == greedy.out
    assert drawn.out == again.out and len({greedy.out, drawn.out, other.out}) == 3
    answers = dict(re.findall(r"^(base|tuned|merged): (.*)$", drawn.out, re.MULTILINE))
    assert answers["tuned"] == answers["merged"]


def test_a_seed_without_a_temperature_is_refused(walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch) -> None:
    said = chatting(walked, tunesmith, monkeypatch, "hello\n", "--greedy", "--seed", "3")
    four_parts(said)
    assert "--temperature 0.6 --seed 3" in said.err and not said.out


def test_chat_draws_at_the_settings_of_use_and_says_so_first(
    walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = Store(walked / ".tunesmith").resolve("use:latest")
    said = chatting(walked, tunesmith, monkeypatch, "And now?\n")
    assert said.err.strip().startswith("answers are") and use.numbers["settings"] in said.err.splitlines()[0]
    assert "the sampling settings, as evaluated" in said.err


@pytest.mark.parametrize("typed", ["/help", "/HELP", "/halp", "/", "/clear", "clear"])
def test_a_command_is_never_sent_to_the_models(
    typed: str, walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = chatting(walked, tunesmith, monkeypatch, f"{typed}\n/quit\nnever read\n")
    assert said.code == 0 and not said.out
    listed = all(f"  {name}" in said.err for name in ("/help", "/clear", "/quit"))
    assert listed == (typed.lower() == "/help")
    assert ("is not a command, and was not sent" in said.err) == (typed in {"/halp", "/"})


def test_a_path_that_begins_a_question_is_part_of_it(
    walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "tuned:" in chatting(walked, tunesmith, monkeypatch, "/etc/hosts is what?\n").out


def test_a_question_after_clear_is_answered_as_in_a_new_chat(
    walked: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = chatting(walked, tunesmith, monkeypatch, "And now?\n").out
    after = chatting(walked, tunesmith, monkeypatch, "What of the kettle?\nclear\nAnd now?\n").out
    assert after.endswith(fresh)


def test_chat_without_a_run_is_a_message(tmp_path: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch) -> None:
    four_parts(chatting(tmp_path, tunesmith, monkeypatch, "hello\n"))


def test_chat_on_a_base_that_has_changed_is_refused(
    tiny_path: Path, posts: Path, tmp_path: Path, tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = copy_base(tiny_path, tmp_path / "base")
    assert tunesmith("train", "--source", posts, "--project", tmp_path, *quick(base)).code == 0
    (base / "chat_template.jinja").write_text("changed" + (base / "chat_template.jinja").read_text())
    said = chatting(tmp_path, tunesmith, monkeypatch, "hello\n")
    assert said.code == 1 and "the base has changed" in said.err
    assert Store(tmp_path / ".tunesmith").resolve("run:latest").numbers["num_steps"] == 6


def test_ctrl_c_in_any_verb_is_said_and_is_not_a_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunesmith.api.serving.serve", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(["serve", "run:latest"])
    assert caught.value.code == 130 and "stopped" in capsys.readouterr().err
