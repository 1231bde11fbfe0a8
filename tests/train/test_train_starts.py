"""Adapters that begin elsewhere than at zero: the base stays, a plain adapter is saved, and its start is the published one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from fakes import examples, train_tiny
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import adapter_moves, open_adapter
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.foreign_adapters import checked_adapter
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.merge import merge
from tunesmith.models.packed.model import packed
from tunesmith.models.quantised import load_quantised
from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.train import loop as loop_module
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.padded import PaddedModel
from tunesmith.train.weights.kinds import begin
from tunesmith.train.weights.weights import Beginning, Weights

IDS = torch.tensor([[5, 40, 41, 42, 43, 6, 90, 91, 200]])
STARTS = ("pissa", "olora", "eva")
Settings = dict[str, Any]


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return made


def rows_of(chat: Chat, count: int = 20) -> list[Encoded]:
    return [row for one in examples(count) for row in chat.rows(one.messages, max_tokens=200)]


def begun(base: BaseFolder, chat: Chat, *, model: Any = None, rows: Any = None, **method: Any) -> Weights:
    settings = MethodConfig.model_validate({"rank": 4, "alpha": 8.0, "dropout": 0.0} | method)
    rows = rows_of(chat) if rows is None else rows
    how = Beginning(base=base, settings=settings, rows=rows, num_steps=3, seed=7)
    return begin(load_model(base, "float32") if model is None else model, how)


def step(model: Any, rows: list[Encoded], rate: float = 0.05) -> None:
    """One step of plain gradient descent on token trees."""
    with packed(model) as lean:
        lean.loss(lean.lay_out(rows)).div(100).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
                parameter.grad = None


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
@pytest.mark.parametrize("init", STARTS)
def test_it_begins_as_the_base_and_what_is_saved_is_what_was_trained(
    init: str, kind: str, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    base = logits(load_model(tiny, "float32"))
    weights = begun(tiny, tiny_chat, kind=kind, init=init)
    model = weights.model.eval()
    torch.testing.assert_close(logits(model), base, atol=1e-4, rtol=1e-4)
    assert not weights.moved()
    for _ in range(3):
        step(model, rows_of(tiny_chat, 4))
    assert weights.moved()
    trained = logits(model)
    assert float((trained - base).abs().max()) > 0.1
    with model.disable_adapter():
        assert torch.equal(logits(model), base)  # what DPO and GRPO compare with
    weights.save(tmp_path / "adapter")
    with checked_adapter(tmp_path / "adapter") as folder:
        opened = open_adapter(load_model(tiny, "float32"), folder)
    torch.testing.assert_close(logits(opened), trained, atol=1e-4, rtol=1e-4)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == (4 if init == "eva" else 8) and config["init_lora_weights"] is True
    merge(tiny, tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(logits(merged), trained, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_adapter_that_did_not_move_is_saved_as_one_that_does_nothing(
    init: str, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    weights = begun(tiny, tiny_chat, init=init)
    assert adapter_moves(weights.model)  # planted: the matrix B alone does not tell
    weights.save(tmp_path / "adapter")
    opened = open_adapter(load_model(tiny, "float32"), tmp_path / "adapter")
    assert not adapter_moves(opened)
    assert torch.equal(logits(opened), logits(load_model(tiny, "float32")))


def test_pissa_begins_at_the_largest_singular_vectors(tiny: BaseFolder, tiny_chat: Chat) -> None:
    """By Eckart and Young no other matrix of this rank is nearer to the base's."""
    layers = dict(begun(tiny, tiny_chat, init="pissa").model.named_modules())
    for name, module in load_model(tiny, "float32").model.layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            layer = layers[f"base_model.model.model.layers.{name}"]
            down, up = (m["default"].parametrizations.weight.original for m in (layer.lora_A, layer.lora_B))
            left = float((module.weight - layer.scaling["default"] * up @ down).detach().norm())
            best = float(torch.linalg.svdvals(module.weight.detach().double())[4:].norm())
            assert best <= 1.0001 * left and left == pytest.approx(best, rel=0.02)  # a fast decomposition
            torch.testing.assert_close(down.norm(dim=1), up.norm(dim=0))  # the root of each value in both


def test_olora_learns_what_pefts_own_learns_which_changes_the_base(tiny: BaseFolder, tiny_chat: Chat) -> None:
    rows = rows_of(tiny_chat, 4)
    ours = begun(tiny, tiny_chat, init="olora").model
    config = LoraConfig(r=4, lora_alpha=8.0, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights="olora")
    plain = load_model(tiny, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls an old name
        theirs = get_peft_model(plain, config)
    for _ in range(2):
        step(ours, rows)
        reads = PaddedModel(theirs, 0)
        reads.loss(reads.lay_out(rows)).div(100).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in theirs.parameters():
                if parameter.grad is not None:
                    parameter -= 0.05 * parameter.grad
                    parameter.grad = None
    torch.testing.assert_close(logits(ours), logits(theirs), atol=2e-3, rtol=2e-3)


def test_eva_reads_the_principal_components_of_what_layers_read(tiny: BaseFolder, tiny_chat: Chat) -> None:
    """Against a whole singular value decomposition of the inputs of a plain model, at the target tokens."""
    rows = rows_of(tiny_chat, 9)
    layers = dict(begun(tiny, tiny_chat, init="eva", rows=rows).model.named_modules())
    plain, read = load_model(tiny, "float32"), dict[str, list[torch.Tensor]]()
    for name, module in plain.model.layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, given, name=name: read.setdefault(name, []).append(given[0][0]))
    count = 0
    for used in rows:
        if count >= 256:
            break
        logits_of_row = plain(input_ids=torch.tensor([used.ids]))
        assert logits_of_row.logits.isfinite().all()
        count += sum(used.learned)
    assert count >= 256
    for name, inputs in read.items():
        kept = [x[torch.tensor(row.learned)] for x, row in zip(inputs, rows, strict=False)]
        states = torch.cat(kept).detach().double()
        centred = states - states.mean(0)
        components = torch.linalg.svd(centred, full_matrices=False).Vh[:4]
        found = layers[f"base_model.model.model.layers.{name}"].lora_A["default"].weight.detach().double()
        torch.testing.assert_close(found @ found.T, torch.eye(4).double(), atol=1e-4, rtol=0)
        held, most = ((centred @ some.T).square().sum() for some in (found, components))
        assert float(held) == pytest.approx(float(most), rel=0.01)


@pytest.mark.parametrize("init", ["pissa", "eva"])
def test_a_run_learns_says_where_it_began_and_resumes_to_the_same_bytes(
    init: str, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given: Settings = {"method": {"init": init, "rank": 2}}
    given |= {"train": {"max_steps": 3, "evaluate_every": 0, "checkpoint_every": 2}}
    assert train_tiny(tiny_path, whole, **given).fitted.best_step == 3
    page = (whole / "out" / "report.html").read_text()
    assert f"begun by {init}" in page and "token trees" in page
    original, calls = loop_module._step, list[int]()

    def dying(*given: Any, **how: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*given, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop_module, "_step", dying)
        train_tiny(tiny_path, parts, **given)
    assert train_tiny(tiny_path, parts, **given).fitted.resumed_at == 2
    name = "adapter/adapter_model.safetensors"
    assert (whole / "out" / name).read_bytes() == (parts / "out" / name).read_bytes()
    tensors = load_file(whole / "out" / name)
    assert {min(t.shape) for t in tensors.values()} == {2 if init == "eva" else 4}
    assert not any("parametrizations" in name for name in tensors)


def test_the_paths_give_the_same_gradients(tiny: BaseFolder, tiny_chat: Chat) -> None:
    model = begun(tiny, tiny_chat, init="pissa").model
    trained, found = [p for p in model.parameters() if p.requires_grad], []
    step(model, rows_of(tiny_chat, 2))
    with packed(model) as lean:
        for reads in (lean, PaddedModel(model, tiny_chat.pad_id)):
            path = ExecutionPath(reads, "")
            found.append(torch.autograd.grad(path.reads.loss(reads.lay_out(rows_of(tiny_chat, 3))), trained))
    for ours, theirs in zip(*found, strict=True):
        assert float((ours - theirs).norm()) <= 1e-4 * float(theirs.norm())


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_base_in_four_bits_is_not_quantised_again(init: str, tiny: BaseFolder, tiny_chat: Chat) -> None:
    pytest.importorskip("bitsandbytes", reason="QLoRA needs bitsandbytes")
    plain = load_quantised(tiny, "float32")
    weights = begun(tiny, tiny_chat, model=load_quantised(tiny, "float32"), init=init, quantise="nf4")
    torch.testing.assert_close(logits(weights.model.eval()), logits(plain), atol=1e-4, rtol=1e-4)
    layer = weights.model.base_model.model.model.layers[0].mlp.up_proj
    assert torch.equal(layer.base_layer.weight, plain.model.layers[0].mlp.up_proj.weight)


@pytest.mark.parametrize("init", STARTS)
def test_a_rank_that_no_matrix_of_a_layer_has_is_refused(init: str, tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs a rank that the layer's matrix has") as caught:
        train_tiny(tiny_path, tmp_path, method={"init": init, "rank": 17})
    assert "rank 17 for " in str(caught.value) and "--set method.rank=16" in str(caught.value)
    assert not (tmp_path / "work").exists()


def test_eva_with_too_little_to_read_is_refused(tiny: BaseFolder, tiny_chat: Chat) -> None:
    with pytest.raises(ModelError, match="init eva needs more to read"):
        begun(tiny, tiny_chat, init="eva", rows=rows_of(tiny_chat, 1))
