"""`merge_adapters`: from folders to a folder, with the base that is meant, and nothing left behind when it fails."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import Told, conversation, copy_base
from tunesmith.api.merging import merge_adapters
from tunesmith.cli.main import main
from tunesmith.core.errors import ModelError, StorageError
from tunesmith.core.files import verify
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, find_base, load_model


def changed(adapter: Path, folder: Path, **settings: Any) -> Path:
    shutil.copytree(adapter, folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return folder


def logits(model: Any, chat: Chat) -> torch.Tensor:
    ids = torch.tensor([chat.encode(conversation("Where is the kettle?", "On the shelf. " * 6)).ids])
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=ids).logits[0]
    return found


def test_the_base_that_the_adapter_names_is_taken_and_the_folder_says_what_it_is_made_of(
    tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    made = merge_adapters(trained_adapter, out=tmp_path / "m")
    manifest = verify(tmp_path / "m")
    assert manifest is not None and {"kind": "base", "id": tiny.fingerprint} in manifest["inputs"]
    assert made.files == ("model.safetensors",) and made.bytes == sum(f.stat().st_size for f in (tmp_path / "m").iterdir())
    assert made.notes == () and not made.untied and made.vocabulary is None
    found, wanted = (
        logits(load_model(find_base(str(tmp_path / "m")), "float32"), tiny_chat),
        logits(open_adapter(load_model(tiny, "float32"), trained_adapter), tiny_chat),
    )
    assert float((found - wanted).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"base_model_name_or_path": "someone/tiny-bnb-4bit"}, "bnb-4bit"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes, 4 bits"),
    ],
)
def test_an_adapter_of_a_quantised_base_goes_into_the_full_base_that_is_named_and_says_so(
    config: dict[str, Any], method: str, tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    adapter = changed(trained_adapter, tmp_path / "a", **config)
    with pytest.raises(ModelError, match="was trained on a quantised base"):
        merge_adapters(adapter, out=tmp_path / "m")
    said = Told()
    made = merge_adapters(adapter, base=str(tiny.path), out=tmp_path / "m", reporter=said)
    assert method in made.notes[0] and "full precision" in made.notes[0] and said.warnings == list(made.notes)


def test_a_merge_into_quantised_weights_is_refused(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    config = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    base = copy_base(tiny.path, tmp_path / "tiny-bnb-4bit", config=config)
    with pytest.raises(ModelError, match="the base is quantised") as caught:
        merge_adapters(trained_adapter, base=str(base), out=tmp_path / "m")
    assert caught.value.problems[0].hint.startswith(f"--base {tmp_path / 'tiny'}") and not (tmp_path / "m").exists()


def test_adapters_of_several_bases_need_one_to_be_named(trained_adapter: Path, tmp_path: Path) -> None:
    other = changed(trained_adapter, tmp_path / "a", base_model_name_or_path="someone/else")
    with pytest.raises(ModelError, match="name several bases"):
        merge_adapters(trained_adapter, other, out=tmp_path / "m")
    unnamed = changed(trained_adapter, tmp_path / "b", base_model_name_or_path=None)
    with pytest.raises(ModelError, match="names no base"):
        merge_adapters(unnamed, out=tmp_path / "m")


def poisoned(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    weights[next(name for name in weights if "lora_A" in name)][0, 0] = float("nan")
    save_file(weights, adapter / "adapter_model.safetensors")


def cut(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def unconfigured(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("{")


def gone(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()


def wider(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    made = {name: tensor.repeat(1, 2) if "lora_A" in name else tensor for name, tensor in weights.items()}
    save_file(made, adapter / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (poisoned, "not finite"),
        (cut, "not a safetensors file"),
        (unconfigured, "configuration cannot be read"),
        (gone, "has no adapter_model.safetensors"),
        (wider, "does not fit this base"),
    ],
)
def test_a_bad_adapter_is_a_message_and_leaves_nothing(
    fault: Callable[[Path], None], message: str, tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "a"
    shutil.copytree(trained_adapter, adapter)
    fault(adapter)
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match=message):
        merge_adapters(adapter, base=str(tiny.path), out=tmp_path / "out" / "m")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_alpha": None},
        {"lora_alpha": 0},
        {"lora_alpha": float("nan")},
        {"lora_alpha": "16"},
        {"r": None},
        {"r": -4},
        {"alpha_pattern": {"q_proj": 0}},
        {"rank_pattern": [8]},
    ],
)
def test_an_adapter_whose_scale_is_not_known_is_a_message(
    trained_adapter: Path, tiny: BaseFolder, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = changed(trained_adapter, tmp_path / "a", **settings)
    with pytest.raises(ModelError, match="does not say how it is scaled"):
        merge_adapters(adapter, out=tmp_path / "out", base=str(tiny.path))
    assert not (tmp_path / "out").exists()


def test_an_alpha_that_is_missing_is_not_taken_to_be_eight(trained_adapter: Path, tiny: BaseFolder, tmp_path: Path) -> None:
    adapter = changed(trained_adapter, tmp_path / "a")
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text())
    del config["lora_alpha"]
    file.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="lora_alpha: None"):
        merge_adapters(adapter, out=tmp_path / "out", base=str(tiny.path))


def test_a_full_disk_is_a_message_and_leaves_nothing(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(StorageError, match="the disk is full while writing the merged model"):
        merge_adapters(trained_adapter, base=str(tiny.path), out=tmp_path / "out" / "m")
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_that_holds_something_is_never_written_into(trained_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "letter.txt").write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        merge_adapters(trained_adapter, out=tmp_path / "m")
    assert [file.name for file in (tmp_path / "m").iterdir()] == ["letter.txt"]


def test_the_verb_merges_two_adapters_by_weight_and_prints_what_it_made(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(trained_adapter, tmp_path / "other", lora_alpha=4.0)
    options = ["--base", str(tiny.path), "--method", "ties", "--weights", "0.7,0.3", "--shard-size", "100KB", "--json"]
    out = str(tmp_path / "m")
    main(["merge", "--adapter", str(trained_adapter), "--adapter", str(other), "--out", out, *options])
    made = json.loads(capsys.readouterr().out)
    assert (made["method"], made["weights"], made["density"]) == ("ties", [0.7, 0.3], 0.5)
    assert len(made["files"]) > 1 and made["path"] == out
    load_model(find_base(out), "float32")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "m"], "--out has no effect without --adapter"),
        (["--weights", "1"], "--weights has no effect without --adapter"),
        (["--adapter", "a"], "no folder for the merged model"),
        (["--adapter", "a", "--out", "m", "--weights", "one"], "the weights are not numbers"),
        (["--adapter", "a", "--out", "m", "--precision", "int3"], "unknown type of weights"),
    ],
)
def test_options_that_do_not_fit_together_are_messages(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["merge", *options])
    assert ended.value.code == 1 and said in capsys.readouterr().err
