"""Training that continues from an adapter: it begins where that one ended, and an adapter that does not fit is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import make_base, train_tiny
from tunesmith.core.artifacts import Draft, Store
from tunesmith.core.errors import ArtifactError, ModelError, RecipeError
from tunesmith.core.records import canonical_json, digest
from tunesmith.models.adapters import open_adapter
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.tuned import tuned_fingerprint
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.pipeline.training import adapter_facts, located
from tunesmith.pipeline.weight_lines import weight_lines
from tunesmith.train.settings import AdapterSettings, identifying
from tunesmith.train.weights.kinds import begin
from tunesmith.train.weights.weights import Beginning, Weights

IDS = torch.tensor([[5, 40, 41, 42, 43, 6]])
QUICK: dict[str, Any] = {"max_steps": 2, "evaluate_every": 0}
SHAPE: dict[str, Any] = {"rank": 4, "alpha": 8.0, "dropout": 0.0}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return made


def begun(base: BaseFolder, **method: Any) -> Weights:
    settings = MethodConfig.model_validate(SHAPE | method)
    return begin(load_model(base, "float32"), Beginning(base=base, settings=settings, rows=(), num_steps=3, seed=7))


def moved_adapter(base: BaseFolder, folder: Path, **method: Any) -> Path:
    """An adapter whose every number has been changed."""
    weights = begun(base, **method)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in weights.model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    weights.save(folder)
    return folder


@pytest.fixture(scope="module")
def first(tiny: BaseFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moved_adapter(tiny, tmp_path_factory.mktemp("first") / "adapter")


@pytest.mark.parametrize(
    "method", [{}, {"kind": "dora"}, {"kind": "rslora", "rank_pattern": {"q_proj": 2}}, {"targets": "mlp"}]
)
def test_it_begins_where_the_adapter_ended_and_has_not_moved_from_there(
    method: dict[str, Any], tiny: BaseFolder, tmp_path: Path
) -> None:
    folder = moved_adapter(tiny, tmp_path / "first", **method)
    weights = begun(tiny, **method, **{"from": str(folder)})
    opened = logits(open_adapter(load_model(tiny, "float32"), folder))
    torch.testing.assert_close(logits(weights.model.eval()), opened)
    assert not weights.moved() and "continued from an adapter that names" in weights.words
    with torch.no_grad():
        next(p for p in weights.model.parameters() if p.requires_grad)[0, 0] += 0.01
    assert weights.moved()
    weights.save(tmp_path / "second")
    torch.testing.assert_close(logits(open_adapter(load_model(tiny, "float32"), tmp_path / "second")), logits(weights.model))


def test_a_run_continues_and_resumes_to_the_same_bytes(tiny_path: Path, first: Path, tmp_path: Path) -> None:
    method = {"from": str(first), **SHAPE}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trained = train_tiny(tiny_path, whole, method=method, train=QUICK | {"checkpoint_every": 1})
    assert trained.fitted.best_step == 2
    name = "adapter/adapter_model.safetensors"
    before, after = load_file(first / "adapter_model.safetensors"), load_file(whole / "out" / name)
    for key, tensor in before.items():  # two steps of AdamW at 0.01 move a number by some hundredths at most
        assert 0 < float((tensor - after[key]).abs().max()) < 0.05
    shutil.copytree(whole / "work", parts / "work", ignore=shutil.ignore_patterns("step-00000002", "latest"))
    assert train_tiny(tiny_path, parts, method=method, train=QUICK | {"checkpoint_every": 1}).fitted.resumed_at == 1
    assert (whole / "out" / name).read_bytes() == (parts / "out" / name).read_bytes()


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"rank": 8}, ("another rank", "4 for", "--set method.rank=4")),
        ({"alpha": 16.0}, ("another alpha", "8 for", "--set method.alpha=8")),
        ({"kind": "rslora"}, ("another kind", "lora", "--set method.kind=lora")),
        ({"targets": "attention"}, ("another set of layers", "which only the adapter has", "method.targets=[down_proj,")),
        ({"layers": 1}, ("another set of layers", "layers.0.", "method.layers as it was")),
        (
            {"rank_pattern": {"q_proj": 2}},
            ("another rank", "4 for model.layers.0.self_attn.q_proj", "set method.rank_pattern to {}"),
        ),
    ],
)
def test_an_adapter_of_another_shape_is_refused_with_what_to_set(
    method: dict[str, Any], told: tuple[str, ...], tiny: BaseFolder, first: Path
) -> None:
    recipe = recipe_from({"sources": ["./x"], "method": SHAPE | method | {"from": str(first)}})
    for refused in (lambda: begun(tiny, **recipe.method.model_dump(by_alias=True)), lambda: adapter_facts(tiny, recipe)):
        with pytest.raises(ModelError) as caught:
            refused()
        assert all(part in str(caught.value) for part in told), str(caught.value)


def as_run(folder: Path, adapter: Path, base: str) -> Store:
    """A store with a run that holds this adapter and was trained on the base of this fingerprint."""
    store = Store(folder / ".tunesmith")
    inputs = [{"kind": "base", "id": base}]

    def fill(draft: Draft) -> None:
        shutil.copytree(adapter, draft.path / "adapter")

    store.obtain("run", inputs, {"base": "b"}, fill)
    return store


def test_a_run_is_found_by_its_id_or_its_folder_and_never_as_the_latest(tiny: BaseFolder, first: Path, tmp_path: Path) -> None:
    store = as_run(tmp_path, first, tiny.fingerprint)
    run = store.all()[0]

    def found(named: str) -> Recipe:
        return located(recipe_from({"sources": ["./x"], "method": SHAPE | {"from": named}}), store)

    names = [run.id[:8], str(run.path), str(run.path / "adapter"), str(first)]
    folders = [found(name).method.continued for name in names]
    assert folders == [str(run.path / "adapter")] * 3 + [str(first)]
    with pytest.raises(ModelError, match="after every run") as caught:
        found("run:latest")
    assert run.id[:12] in caught.value.problems[0].hint
    facts = adapter_facts(tiny, found(run.id))
    assert weight_lines(found(run.id).method, start=facts.start) == [
        ("start", f"continues from run {run.id[:8]}, content {tuned_fingerprint(first)[:12]}", f"method.from: {folders[0]}")
    ]
    with pytest.raises(ArtifactError, match="no such artifact"):
        found("run:stage")
    with pytest.raises(ModelError, match="no adapter to continue from"):
        found(str(tmp_path / "nowhere"))


def test_an_adapter_of_another_base_is_refused_by_its_fingerprint(tiny: BaseFolder, first: Path, tmp_path: Path) -> None:
    """Planted: a base of the same shape, which no tensor tells apart."""
    other = find_base(str(make_base(tmp_path / "other", seed=8)))
    run = as_run(tmp_path, first, other.fingerprint).all()[0]
    with pytest.raises(ModelError, match="trained on another base") as caught:
        begun(tiny, **{"from": str(run.path / "adapter")})
    assert other.fingerprint[:12] in str(caught.value)
    assert begun(other, **{"from": str(run.path / "adapter")}).modules


def test_what_the_adapter_holds_is_part_of_the_id_and_not_where_it_lies(first: Path, tmp_path: Path) -> None:
    def id_of(**method: Any) -> str:
        return digest(canonical_json(identifying(MethodConfig.model_validate(SHAPE | method), AdapterSettings)))

    copied = Path(shutil.copytree(first, tmp_path / "copy"))
    assert id_of(**{"from": str(first)}) == id_of(**{"from": str(copied)}) != id_of()
    tensors = load_file(copied / "adapter_model.safetensors")
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, copied / "adapter_model.safetensors")
    assert id_of(**{"from": str(first)}) != id_of(**{"from": str(copied)})


def test_a_fresh_start_and_another_adapter_exclude_each_other(first: Path) -> None:
    with pytest.raises(RecipeError, match=r"method\.init has no effect"):
        recipe_from({"sources": ["./x"], "method": {"from": str(first), "init": "pissa"}})


@pytest.mark.parametrize("damage", ["tensor", "shape"])
def test_an_adapter_that_is_not_whole_is_refused(damage: str, tiny: BaseFolder, first: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(first, tmp_path / "copy"))
    file = copied / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "lora_A" in name)
    whole = tensors.pop(name)
    save_file(tensors if damage == "tensor" else tensors | {name: whole[:, :-1].contiguous()}, file)
    with pytest.raises(ModelError, match="does not fit this base"):
        begun(tiny, **{"from": str(copied)})
    assert json.loads((copied / "adapter_config.json").read_text()) == orjson.loads(
        (first / "adapter_config.json").read_bytes()
    )
