"""MLX: adapters both ways without the engine, and folders that it opens where it is installed."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from export_sources import far, source_of

from fakes import conversation, train_tiny
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.foreign_adapters import checked_adapter
from tunesmith.models.generate import Request, answer
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.mlx_adapter import write_mlx_adapter
from tunesmith.ship.format import ExportSource, find_format
from tunesmith.systems.opening import Opening, open_system

needs_mlx = pytest.mark.skipif(find_spec("mlx_lm") is None, reason="mlx-lm is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def source(tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportSource:
    return source_of(tiny, tiny_chat, trained_adapter, tmp_path_factory.mktemp("export") / "merged")


def logits(base: BaseFolder, adapter: Path, chat: Chat) -> torch.Tensor:
    ids = torch.tensor([chat.encode(conversation("Where is the kettle?", "On the shelf. " * 6)).ids])
    with torch.inference_mode():
        found: torch.Tensor = open_adapter(load_model(base, "float32"), adapter)(input_ids=ids).logits[0]
    return found


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_an_adapter_that_goes_to_mlx_and_back_is_the_same(kind: str, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path) -> None:
    train_tiny(tiny.path, tmp_path, train={"max_steps": 2}, method={"kind": kind})
    adapter = tmp_path / "out" / "adapter"
    write_mlx_adapter(adapter, tmp_path / "mlx", num_layers=2, base="tiny")
    with checked_adapter(tmp_path / "mlx") as back:
        assert float((logits(tiny, adapter, tiny_chat) - logits(tiny, back, tiny_chat)).abs().max()) < 1e-5
    config = tmp_path / "mlx" / "adapter_config.json"
    stated = json.loads(config.read_text())
    stated["lora_parameters"]["scale"] *= 1.1  # the fault: another scale is another model
    config.write_text(json.dumps(stated))
    with checked_adapter(tmp_path / "mlx") as back:
        assert float((logits(tiny, adapter, tiny_chat) - logits(tiny, back, tiny_chat)).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("changes", "value"),
    [({"rank_pattern": {"q_proj": 8}}, "rank_pattern"), ({"modules_to_save": ["lm_head"]}, "modules_to_save")],
)
def test_what_mlx_has_no_place_for_is_refused(
    changes: dict[str, Any], value: str, trained_adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_adapter, tmp_path / "a")
    file = tmp_path / "a" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(ModelError, match="no place for this adapter") as caught:
        write_mlx_adapter(tmp_path / "a", tmp_path / "mlx", num_layers=2, base="tiny")
    assert str(caught.value.problems[0].value).startswith(value) and not (tmp_path / "mlx").exists()


def in_mlx(source: ExportSource, reference: str) -> float:
    """KL of what mlx-lm makes of a reference."""
    how = Opening(store=Store(source.merged.path), engine="mlx-lm")
    with open_system(reference, how) as opened:
        return far(source, opened.system)[0]


@needs_mlx
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_base_and_adapter_in_mlx_are_the_tuned_model(
    kind: str, source: ExportSource, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    train_tiny(tiny.path, tmp_path, train={"max_steps": 2}, method={"kind": kind})
    own = source_of(tiny, tiny_chat, tmp_path / "out" / "adapter", tmp_path / "merged")
    form = find_format("mlx_lora")
    form.write(own, tmp_path / "mlx", "")
    with form.open(own, tmp_path / "mlx") as opened:
        kl, top1 = far(own, opened.system)
        assert kl < 1e-6 and top1 > 0.999
        assert far(source, opened.system)[0] > 1e-3, "another adapter is seen"
        assert opened.form == "MLX float32" and opened.declared.adapter is not None


@needs_mlx
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_that_mlx_lm_has_made_is_the_same_model_in_peft_and_when_fused(
    kind: str, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm import fuse
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model as mlx_model

    settings = {"rank": 4, "scale": 3.0, "dropout": 0.0, "keys": ["self_attn.q_proj", "mlp.up_proj"]}
    model, _ = mlx_model(tiny.path)
    model.freeze()
    linear_to_lora_layers(model, 1, settings, use_dora=kind == "dora")
    mx.random.seed(3)
    moved = {name: p + 0.1 * mx.random.normal(p.shape) for name, p in tree_flatten(model.trainable_parameters())}
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    mx.save_safetensors(str(theirs / "adapters.safetensors"), moved)
    config = {"fine_tune_type": kind, "num_layers": 1, "lora_parameters": settings}
    (theirs / "adapter_config.json").write_text(json.dumps(config))
    with checked_adapter(theirs) as adapter:
        own = source_of(tiny, tiny_chat, adapter, tmp_path / "merged")
    assert in_mlx(own, f"{tiny.path}+{theirs}") < 1e-6
    assert in_mlx(own, str(tiny.path)) > 1e-3, "the adapter does something"
    args = ["--model", str(tiny.path), "--adapter-path", str(theirs), "--save-path", str(tmp_path / "fused")]
    monkeypatch.setattr("sys.argv", ["mlx_lm.fuse", *args])
    fuse.main()
    assert in_mlx(own, str(tmp_path / "fused")) < 1e-6


@needs_mlx
@pytest.mark.parametrize(("quant", "kl", "top1"), [("f32", 1e-6, 0.999), ("bf16", 1e-2, 0.97)])
def test_a_folder_that_mlx_opens_is_the_merged_model(
    quant: str, kl: float, top1: float, source: ExportSource, tmp_path: Path
) -> None:
    form, folder = find_format("mlx"), tmp_path / "files"
    folder.mkdir()
    written = form.write(source, folder, quant)
    with form.open(source, folder / written.main) as opened:
        found = far(source, opened.system)
        assert found[0] < kl and found[1] > top1
        request = Request(messages=conversation("Tell me about the kettle."), max_new_tokens=12)
        said = opened.system.answer([request], on_done=lambda count: None)[0]
        if quant == "f32":
            model = load_model(source.merged, "float32")
            [wanted] = answer(model, source.chat, [request], batch_examples=1, context=source.base.context)
            # not the text: random weights choose ids that have no token, which mlx-lm writes as `!` and transformers not at all
            assert (said.ids, said.finish_reason) == (wanted.ids, wanted.finish_reason)
    assert written.numbers["bytes"] > 0
