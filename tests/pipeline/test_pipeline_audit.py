"""An audit: other people's adapters, models and servers get the same verdict, and what cannot be known is never a pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_llm import fake_llm, saying
from safetensors.torch import load_file, save_file

from fakes import TEMPLATE, byte_tokenizer, copy_base, make_base
from tunesmith import verify
from tunesmith.api.auditing import audit
from tunesmith.cli.main import main
from tunesmith.core.errors import EvaluationError, ModelError, TunesmithError
from tunesmith.eval.verdict import Verdict
from tunesmith.models.declared import declared_adapter
from tunesmith.models.foreign_adapters import checked_adapter, origin_of
from tunesmith.pipeline.outcome import Outcome

SETTINGS = {"eval.draws": 200, "eval.max_items": 8, "eval.suites": [], "eval.max_new_tokens": 8, "build.passage_words": 30}
WEIGHTS = "adapter_model.safetensors"


def judged(tiny_path: Path, posts: Path, project: Path, settings: dict[str, Any] | None = None, **subject: Any) -> Outcome:
    sources = () if "suite" in subject else (posts,)
    return audit(*sources, settings=SETTINGS | (settings or {}), base=str(tiny_path), project=project, **subject)


def card(*tags: str, text: str = "") -> str:
    return (
        "---\nbase_model: some/base\nlibrary_name: peft\ntags:\n" + "".join(f"- {tag}\n" for tag in tags) + f"---\n\n{text}\n"
    )


def left_by(tool: str, adapter: Path, folder: Path) -> Path:
    """An adapter in the files that a tool writes. Pickled ones are there by name, and would not open."""
    shutil.copytree(adapter, folder)
    config = folder / "adapter_config.json"
    if tool in ("TRL", "Axolotl", "Unsloth", "LLaMA-Factory"):
        (folder / "training_args.bin").write_bytes(b"not a pickle")
        byte_tokenizer(TEMPLATE).save_pretrained(folder)
    if tool == "TRL":
        (folder / "README.md").write_text(card("base_model:adapter:some/base", "lora", "sft", "transformers", "trl"))
    elif tool == "Axolotl":
        (folder / "README.md").write_text(card("axolotl", "generated_from_trainer", text="axolotl version: `0.13.0`"))
        (folder / "axolotl_config.yml").write_text("base_model: some/base\nadapter: lora\n")
    elif tool == "Unsloth":
        (folder / "README.md").write_text(card("text-generation-inference", "transformers", "unsloth", "trl"))
        named = {"base_model_name_or_path": "unsloth/SmolLM2-135M", "auto_mapping": {"unsloth_fixed": True}}
        config.write_text(json.dumps(json.loads(config.read_text()) | named))
    elif tool == "LLaMA-Factory":
        (folder / "README.md").write_text(card("base_model:adapter:some/base", "llama-factory", "lora"))
        for name in ("trainer_log.jsonl", "all_results.json", "llamaboard_config.yaml", "train_results.json"):
            (folder / name).write_text("{}")
    elif tool == "mlx-lm":
        as_mlx(folder)
    return folder


def as_mlx(folder: Path) -> None:
    """The adapter as mlx-lm keeps it: x @ a @ b, with the scale itself in place of alpha / rank."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / WEIGHTS)
    turned = {
        name.removeprefix("base_model.model.")
        .replace("lora_A.weight", "lora_a")
        .replace("lora_B.weight", "lora_b"): t.T.contiguous()
        for name, t in tensors.items()
    }
    save_file(turned, folder / "adapters.safetensors")
    (folder / WEIGHTS).unlink()
    own = {"rank": config["r"], "dropout": 0.0, "scale": config["lora_alpha"] / config["r"]}
    mlx = {"fine_tune_type": "lora", "lora_parameters": own, "num_layers": 2, "model": "some/base"}
    (folder / "adapter_config.json").write_text(json.dumps(mlx))


@pytest.fixture(scope="module")
def outcome(
    tiny_path: Path, posts: Path, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Outcome, Path]:
    place = tmp_path_factory.mktemp("audit")
    found = judged(tiny_path, posts, place / "p", adapter=left_by("TRL", trained_adapter, place / "theirs"))
    return found, place / "p"


def gate(verdict: Verdict, name: str) -> Any:
    return next(gate for gate in verdict.gates if gate.name == name)


@pytest.mark.parametrize("tool", ["TRL", "Axolotl", "Unsloth", "LLaMA-Factory", "mlx-lm"])
def test_an_adapter_is_recognised_by_the_files_of_its_tool(tool: str, trained_adapter: Path, tmp_path: Path) -> None:
    found = origin_of(left_by(tool, trained_adapter, tmp_path / "theirs"))
    assert found.maker == tool and found.files and all((tmp_path / "theirs" / name).is_file() for name in found.files)


def test_an_adapter_without_marks_of_any_tool_is_of_no_tool(trained_adapter: Path, tmp_path: Path) -> None:
    assert origin_of(left_by("none", trained_adapter, tmp_path / "theirs")).maker == ""
    (tmp_path / "theirs" / "README.md").write_text("---\ntags: [broken\n---\n")
    (tmp_path / "theirs" / "all_results.json").write_text("{}")  # every Trainer writes one
    assert origin_of(tmp_path / "theirs").maker == ""


def test_an_mlx_adapter_becomes_the_same_adapter_in_peft_s_files(trained_adapter: Path, tmp_path: Path) -> None:
    theirs = left_by("mlx-lm", trained_adapter, tmp_path / "mlx")
    with checked_adapter(theirs) as usable:
        before, after = load_file(trained_adapter / WEIGHTS), load_file(usable / WEIGHTS)
        config = json.loads((usable / "adapter_config.json").read_text())
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    own = json.loads((trained_adapter / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (own["r"], own["lora_alpha"]) and not usable.exists()


def test_an_mlx_adapter_is_judged_as_the_same_adapter_in_peft_s_files(
    tiny_path: Path, posts: Path, trained_adapter: Path, tmp_path: Path, outcome: tuple[Outcome, Path]
) -> None:
    theirs = left_by("mlx-lm", trained_adapter, tmp_path / "mlx")
    found = judged(tiny_path, posts, tmp_path / "p", adapter=theirs)
    scores = [one.measurements.systems["tuned"].scores["bits_per_byte"] for one in (found, outcome[0])]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_an_audit_says_what_it_cannot_know_and_does_not_let_it_decide(outcome: tuple[Outcome, Path]) -> None:
    verdict = outcome[0].verdict
    for name in ("not_recited", "parity"):
        assert (gate(verdict, name).state, gate(verdict, name).required) == ("not measured", False)
    assert gate(verdict, "better").required and gate(verdict, "general_text").required
    assert "whether the model was trained on these documents" in verdict.not_measured
    assert any("prompted" in topic for topic in verdict.not_measured)
    assert "Not measured, because an audit cannot: whether answers are recited" in verdict.sentence
    assert set(verdict.as_dict()) >= {"verdict", "exit_code", "sentence", "gates", "not_measured", "looks", "advice"}


def test_the_report_says_whose_model_was_judged(outcome: tuple[Outcome, Path]) -> None:
    folder = outcome[0].evaluation.path
    page = (folder / "report.html").read_text()
    assert "made by: TRL (by README.md, training_args.bin)" in page and "the adapter theirs" in page
    assert json.loads((folder / "report.json").read_text())["audited"]["maker"] == "TRL"
    assert folder.parent.name == "audits"


def test_an_audit_is_computed_again_to_the_byte_and_a_changed_answer_is_found(
    outcome: tuple[Outcome, Path], tmp_path: Path
) -> None:
    project = tmp_path / "copy"
    shutil.copytree(outcome[1], project)
    assert verify("audit:latest", project=project).holds
    file = next(project.rglob("audits/*/verdict.json"))
    file.write_bytes(file.read_bytes().replace(b'"exit_code":', b'"exit_code": '))
    with pytest.raises(TunesmithError):
        verify("audit:latest", project=project)


def test_the_same_audit_is_not_measured_twice(
    outcome: tuple[Outcome, Path], tiny_path: Path, posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("tunesmith.pipeline.auditing.evaluate_kinds", never)
    again = judged(tiny_path, posts, outcome[1], adapter=outcome[1].parent / "theirs")
    assert again.evaluation.id == outcome[0].evaluation.id and again.verdict == outcome[0].verdict and again.verdict.looks == 1


def test_an_adapter_is_asked_in_the_chat_template_that_it_brings(
    tiny_path: Path, posts: Path, trained_adapter: Path, tmp_path: Path
) -> None:
    theirs = left_by("TRL", trained_adapter, tmp_path / "theirs")
    byte_tokenizer(TEMPLATE.replace("<|end|>\n'", "<|end|>\n\n'")).save_pretrained(theirs)
    found = judged(tiny_path, posts, tmp_path / "p", adapter=theirs)
    audited = found.measurements.audited
    assert audited is not None and "has its own tokenizer or chat template" in audited.notes[0]
    same = judged(tiny_path, posts, tmp_path / "q", adapter=trained_adapter)
    ours, base = (same.measurements.systems[name].scores["bits_per_byte"] for name in ("tuned", "base"))
    assert found.measurements.systems["base"].scores["bits_per_byte"] == base
    assert found.measurements.systems["tuned"].scores["bits_per_byte"] != ours


def test_the_command_prints_the_object_of_a_verdict_and_exits_with_its_code(
    tiny_path: Path, posts: Path, trained_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--base",
        str(tiny_path),
        "--adapter",
        str(trained_adapter),
        "--source",
        str(posts),
        "--project",
        str(tmp_path / "p"),
    ]
    words += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    with pytest.raises(SystemExit) as ended:
        main(["audit", *words, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert ended.value.code == printed["exit_code"] and Path(printed["report"]).is_file()
    assert "whether the model was trained on these documents" in printed["not_measured"]
    with pytest.raises(SystemExit) as again:
        main(["verdict", "audit:latest", "--verify", "--project", str(tmp_path / "p"), "--json"])
    checked = json.loads(capsys.readouterr().out)
    assert again.value.code == ended.value.code and checked["verified"] and checked["sentence"] == printed["sentence"]


# --- a model folder ---------------------------------------------------------------------------------------------------


def test_a_model_folder_with_another_template_is_judged_against_the_base(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    other = make_base(tmp_path / "other", seed=8, template=TEMPLATE.replace("<|end|>\n'", "<|end|>\n\n'"))
    found = judged(tiny_path, posts, tmp_path / "p", model=other)
    audited = found.measurements.audited
    assert audited is not None and "bits per byte remain comparable" in audited.notes[0]
    assert found.measurements.systems["tuned"].summaries["bits_per_byte"].n == found.measurements.num_items
    assert found.verdict.verdict != "SHIP"  # of two random models one may well be better, and still not ship


def test_the_base_itself_is_not_audited_against_itself(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="the same files"):
        judged(tiny_path, posts, tmp_path / "p", model=copy_base(tiny_path, tmp_path / "copy"))


def test_a_pickled_model_folder_is_refused(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "pickled", without=["*.safetensors"])
    (folder / "pytorch_model.bin").write_bytes(b"not opened")
    with pytest.raises(ModelError, match="pickled"):
        judged(tiny_path, posts, tmp_path / "p", model=folder)


# --- a server ---------------------------------------------------------------------------------------------------------


def test_a_server_is_judged_by_its_answers_alone(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    with fake_llm(saying("It waits in the shed, green and slow.")) as server:
        found = judged(tiny_path, posts, tmp_path / "p", url=server.url, model_name="theirs")
        assert server.asked[0].body["model"] == "theirs"
        again = judged(tiny_path, posts, tmp_path / "p", url=server.url, model_name="theirs")
    assert found.measurements.primary == "rouge_l"
    assert found.measurements.systems["tuned"].summaries["bits_per_byte"].n == 0
    for name in ("general_text", "answers_the_question", "not_recited", "parity"):
        assert (gate(found.verdict, name).state, gate(found.verdict, name).required) == ("not measured", False)
    assert gate(found.verdict, "not_collapsed").state != "pass"  # it says one thing to every question
    assert again.evaluation.id != found.evaluation.id and again.verdict.looks == 1  # asked anew: it may have changed
    assert verify("audit:latest", project=tmp_path / "p").holds


def test_likelihoods_of_a_server_that_are_asked_for_are_not_measured_and_do_not_pass(
    tiny_path: Path, posts: Path, tmp_path: Path
) -> None:
    with fake_llm(saying("It waits.")) as server:
        settings = {"eval.primary": "bits_per_byte"}
        found = judged(tiny_path, posts, tmp_path / "p", settings, url=server.url, model_name="theirs")
    assert gate(found.verdict, "better").state == "not measured" and gate(found.verdict, "better").required
    assert found.verdict.verdict != "SHIP"


def test_a_server_that_is_down_is_not_measured_with_the_reason(
    tiny_path: Path, posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.systems.addressed.ATTEMPTS", 1)
    found = judged(tiny_path, posts, tmp_path / "p", url="http://127.0.0.1:9/v1", model_name="theirs")
    assert (found.verdict.verdict, found.verdict.exit_code) == ("CAN'T TELL", 3)
    assert not [gate for gate in found.verdict.gates if gate.state == "pass"]
    assert "The audited model was not measured" in found.verdict.sentence and "127.0.0.1:9" in found.verdict.sentence
    assert found.verdict.advice.startswith("Start the server")
    assert verify("audit:latest", project=tmp_path / "p").holds


def test_a_server_needs_the_name_of_its_model(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="--model-name"):
        judged(tiny_path, posts, tmp_path / "p", url="http://127.0.0.1:9/v1")


# --- a suite ----------------------------------------------------------------------------------------------------------


def test_a_suite_is_asked_in_place_of_documents(tiny_path: Path, posts: Path, trained_adapter: Path, tmp_path: Path) -> None:
    suite = tmp_path / "mine.jsonl"
    rows = [
        {"id": f"q{n}", "prompt": f"What is {n} and {n}?", "reference": str(2 * n), "group": f"g{n % 7}"} for n in range(14)
    ]
    suite.write_text("\n".join(map(json.dumps, rows)))
    found = judged(tiny_path, posts, tmp_path / "p", {"eval.primary": "exact_match"}, adapter=trained_adapter, suite=suite)
    assert (found.measurements.num_items, found.measurements.num_documents) == (8, 7)
    assert "mine" in found.measurements.suites and found.verdict.exit_code in (2, 3)


def test_a_suite_without_references_is_nothing_to_ask(
    tiny_path: Path, posts: Path, trained_adapter: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"Write {n} words.", "scorer": {"name": "regex", "pattern": "a"}} for n in (2, 3)]
    suite.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(EvaluationError, match="nothing to ask"):
        judged(tiny_path, posts, tmp_path / "p", adapter=trained_adapter, suite=suite)


# --- what is refused --------------------------------------------------------------------------------------------------


def planted(adapter: Path, folder: Path, **config: Any) -> Path:
    shutil.copytree(adapter, folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "this kind of adapter"),
        ({"modules_to_save": ["lm_head"]}, "more than LoRA's own weights"),
        ({"bias": "all"}, "more than LoRA's own weights"),
        ({"init_lora_weights": "pissa"}, "changes the base's own weights"),
    ],
)
def test_what_cannot_be_compared_fairly_is_refused(
    config: dict[str, Any], message: str, trained_adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as error, checked_adapter(planted(trained_adapter, tmp_path / "a", **config)):
        pass
    assert "--model" in error.value.problems[0].hint


def test_a_learned_prompt_is_refused_and_nobody_is_told_to_merge_it(trained_adapter: Path, tmp_path: Path) -> None:
    folder = planted(trained_adapter, tmp_path / "a", peft_type="PROMPT_TUNING", r=None)
    for ask in (lambda: checked_adapter(folder).__enter__(), lambda: declared_adapter(folder)):
        with pytest.raises(ModelError, match="a learned prompt") as error:
            ask()
        (problem,) = error.value.problems
        assert problem.value == "PROMPT_TUNING" and "--url" in problem.hint and "merge it" not in problem.hint


def test_an_adapter_that_is_zero_is_refused(trained_adapter: Path, tmp_path: Path) -> None:
    folder = planted(trained_adapter, tmp_path / "zero")
    tensors = load_file(folder / WEIGHTS)
    save_file({name: torch.zeros_like(t) if "lora_B" in name else t for name, t in tensors.items()}, folder / WEIGHTS)
    with pytest.raises(ModelError, match="the adapter is zero"), checked_adapter(folder):
        pass


def test_a_pickled_adapter_is_refused_unopened(trained_adapter: Path, tmp_path: Path) -> None:
    folder = planted(trained_adapter, tmp_path / "pickled")
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickled"), checked_adapter(folder):
        pass


def test_a_folder_without_an_adapter_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_config\.json"), checked_adapter(tmp_path):
        pass
    with pytest.raises(ModelError, match="no adapter folder"), checked_adapter(tmp_path / "nowhere"):
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"fine_tune_type": "full"},
        {"fine_tune_type": "dora"},  # without the lengths that DoRA has
        {"lora_parameters": {"rank": 8}},
    ],
)
def test_an_mlx_adapter_that_cannot_be_converted_says_what_to_do(
    change: dict[str, Any], trained_adapter: Path, tmp_path: Path
) -> None:
    folder = left_by("mlx-lm", trained_adapter, tmp_path / "mlx")
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match="MLX") as error, checked_adapter(folder):
        pass
    assert "mlx_lm.fuse" in error.value.problems[0].hint


def test_an_adapter_of_another_base_says_which_weights_do_not_fit(
    phi_path: Path, posts: Path, trained_adapter: Path, tmp_path: Path, tiny_path: Path
) -> None:
    folder = planted(trained_adapter, tmp_path / "wide")
    tensors = load_file(folder / WEIGHTS)
    save_file({name: torch.cat([t, t], 1) if "lora_A" in name else t for name, t in tensors.items()}, folder / WEIGHTS)
    with pytest.raises(ModelError, match="size mismatch"):
        judged(tiny_path, posts, tmp_path / "p", adapter=folder)
    with pytest.raises(ModelError, match="does not fit this base"):
        judged(phi_path, posts, tmp_path / "q", adapter=trained_adapter)


def test_an_audit_is_of_one_model(tiny_path: Path, posts: Path, trained_adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="one of --adapter, --model and --url"):
        judged(tiny_path, posts, tmp_path / "p")
    with pytest.raises(EvaluationError, match="one of --adapter, --model and --url"):
        judged(tiny_path, posts, tmp_path / "p", adapter=trained_adapter, model=tiny_path)
