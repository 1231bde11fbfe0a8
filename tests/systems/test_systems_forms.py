"""Forms: the files of a reference choose the engine, one file declares each, and what cannot be opened is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from fakes import copy_base
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.ship.format import format_kinds
from tunesmith.systems.opening import Opening, form_kinds, open_system
from tunesmith.systems.placing import Place, place_of


def engine_of(reference: str | Path) -> str:
    place = place_of(str(reference), Store(Path("nowhere")))
    return next(form.engine for form in form_kinds() if form.fits(place))


def stated(base: Path, out: Path, method: str) -> Path:
    """The base, whose config.json says that it was quantised."""
    folder = copy_base(base, out)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": method}}))
    return folder


def written_by_mlx(base: Path, out: Path) -> Path:
    folder = copy_base(base, out)
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors", metadata={"format": "mlx"})
    return folder


def test_the_files_of_a_reference_choose_its_engine(tiny_path: Path, trained_adapter: Path, tmp_path: Path) -> None:
    assert engine_of(tiny_path) == engine_of(f"{tiny_path}+{trained_adapter}") == "transformers"
    mlx = written_by_mlx(tiny_path, tmp_path / "mlx")
    assert engine_of(mlx) == "mlx-lm"
    assert engine_of(f"{mlx}+{trained_adapter}") == "transformers", "an adapter of peft is nothing that mlx-lm reads"
    assert engine_of("http://127.0.0.1:9/v1#m") == "address"
    methods = ("torchao", "compressed-tensors", "unheard-of")
    places = [Place(model=str(stated(tiny_path, tmp_path / method, method))) for method in methods]
    orders = [next(form.order for form in form_kinds() if form.fits(place)) for place in places]
    assert len(set(orders)) == 3, "each method is opened by its own file"


def test_every_format_is_opened_by_an_engine_that_a_form_declares() -> None:
    engines = {form.engine for form in form_kinds()}
    assert {kind.engine for kind in format_kinds()} - engines == {"Ollama"}, "which cannot be asked from here"


def test_an_engine_that_does_not_read_such_files_is_an_error(tmp_path: Path) -> None:
    how = Opening(store=Store(tmp_path), engine="mlx-lm")
    with pytest.raises(EvaluationError, match="does not open such files") as caught, open_system("http://127.0.0.1:9#m", how):
        pass
    assert "address" in str(caught.value.problems[0].expected)


def test_a_damaged_folder_is_reported_by_whoever_opens_it(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "half")
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match="not a safetensors file"), open_system(str(folder), Opening(store=Store(tmp_path))):
        pass


def test_a_gguf_adapter_alone_and_a_model_in_its_place_are_told_apart(
    tiny_path: Path, trained_adapter: Path, tmp_path: Path
) -> None:
    from tunesmith.models.load import find_base
    from tunesmith.ship.gguf.lora import write_gguf_lora
    from tunesmith.ship.gguf.write import write_gguf

    base = find_base(str(tiny_path))
    lora = write_gguf_lora(base, trained_adapter, tmp_path / "lora.gguf", name="tiny").path
    whole = write_gguf(base, tmp_path / "base.gguf", quant="f16").path
    how = Opening(store=Store(tmp_path))
    with pytest.raises(ModelError, match="holds an adapter alone") as caught, open_system(str(lora), how):
        pass
    assert f"BASE.gguf+{lora}" in caught.value.problems[0].hint
    with pytest.raises(ModelError, match="whole model, not an adapter"), open_system(f"{whole}+{whole}", how):
        pass
    assert place_of(f"{whole}+{lora}", how.store).adapter == lora
