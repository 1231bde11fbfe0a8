"""Do the weights of a base belong to its config.json? transformers fills a gap with random numbers and only logs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError

__all__ = ["ASKING", "checked_config", "opening", "refuse_misfit", "refuse_two_heads"]

ASKING: Mapping[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""What transformers' loader is given so that it reports what does not fit, as `refuse_misfit` takes it."""
_AGAIN = "copy config.json and all *.safetensors again, from one and the same source"
_ROWS = 4096  # of a matrix in memory at a time
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """What transformers raises when it cannot open a base, as a ModelError; what it would print is left to `refuse_misfit`."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except ModelError:
        raise
    except _refused() as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            "cannot open the base model",
            value=str(path),
            expected=f"a config.json that transformers can make a model of ({type(error).__name__}: {said})",
            hint="correct what it names in config.json, copy the file again, or choose another base",
        ) from error
    finally:
        logging.set_verbosity(before)


def _refused() -> tuple[type[Exception], ...]:
    """What is raised for a config or weights that cannot be used."""
    from huggingface_hub.errors import StrictDataclassError  # for a value of a wrong type; in no tree of Python's own

    usual = (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        TypeError,
        AttributeError,
        IndexError,
        ArithmeticError,
        AssertionError,
    )
    return (*usual, StrictDataclassError)


def checked_config(path: Path, config: Mapping[str, Any]) -> Any:
    """transformers' configuration object. ModelError for an architecture that it does not know, or that continues no text."""
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING:
        near = get_close_matches(str(kind), list(CONFIG_MAPPING.keys()), n=3)
        raise ModelError(
            "the installed transformers does not know the architecture of the base",
            value=f"model_type {kind}" if kind else f"{path / 'config.json'} has no model_type",
            expected=f"one of its {len(CONFIG_MAPPING.keys())} model types" + (f", such as {', '.join(near)}" if near else ""),
            hint="if the architecture is new: pip install --upgrade transformers; otherwise choose another base",
        )
    found = AutoConfig.from_pretrained(path, trust_remote_code=False)
    if not any(type(found) in auto._model_mapping for auto in (AutoModelForCausalLM, AutoModelForImageTextToText)):
        raise ModelError(
            "the base is not a language model that continues a text",
            value=f"model_type {kind}",
            expected="a causal language model, such as llama or qwen2",
            hint="choose another base: tunesmith bases lists some",
        )
    return found


def refuse_misfit(path: Path, model: Any, info: Mapping[str, Any]) -> None:
    """ModelError for weights that are not those of the model: other shapes, missing tensors, or layers beyond its own.

    `info`: what transformers' loader reports, asked with `ASKING`. Other tensors that the model has no place for (a vision
    tower, buffers of older versions) may be there.
    """
    if other := sorted(info["mismatched_keys"]):
        name, stored, wanted = other[0]
        raise ModelError(
            "the weights of the base do not fit its config.json",
            value=f"{name} is {_size(stored)} in the file and {_size(wanted)} by config.json" + _more(len(other)),
            expected=f"the shapes that {path / 'config.json'} describes",
            hint=_AGAIN,
        )
    if missing := sorted(info["missing_keys"]):
        head = missing == ["lm_head.weight"]
        raise ModelError(
            "weights of the base are missing",
            value=missing[0] + _more(len(missing)),
            expected=f"a tensor for every part that {path / 'config.json'} describes; none is made up",
            hint=f'"tie_word_embeddings": true in config.json, if the base has no head of its own; else {_AGAIN}'
            if head
            else _AGAIN,
        )
    kinds = {_NUMBER.sub("*", name) for name in model.state_dict()}
    if beyond := sorted(name for name in info["unexpected_keys"] if _NUMBER.sub("*", name) in kinds):
        raise ModelError(
            "the base holds layers that its config.json does not have",
            value=beyond[0] + _more(len(beyond)),
            expected=f"{path / 'config.json'} to describe all layers of the weights",
            hint=_AGAIN,
        )


def refuse_two_heads(path: Path, model: Any, weights: Sequence[Path]) -> None:
    """ModelError for a head that differs from the embedding where config.json says that they are one: transformers keeps the
    two apart, and other programs drop the head. `weights`: the files. Two equal copies are fine."""
    from safetensors import safe_open

    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    names = [f"{name}.weight" for end in ends for name, module in model.named_modules() if module is end]
    with ExitStack() as opened:
        files = [opened.enter_context(safe_open(file, "pt")) for file in weights]
        held = [(set(file.keys()), file) for file in files]
        slices = [file.get_slice(name) for name in names for there, file in held if name in there]
        if len(slices) != 2:
            return
        (rows, width), shape = (one.get_shape() for one in slices)
        same = [rows, width] == shape and all(
            slices[0][at : at + _ROWS].equal(slices[1][at : at + _ROWS]) for at in range(0, rows, _ROWS)
        )
    if not same:
        raise ModelError(
            "the base has a head of its own, though its config.json says that it has none",
            value=f"{names[1]} differs from {names[0]}; tie_word_embeddings is true",
            expected="one matrix for both, or tie_word_embeddings false",
            hint=f'"tie_word_embeddings": false in {path / "config.json"}, if the head was trained; else {_AGAIN}',
        )


def _size(shape: Any) -> str:
    return " × ".join(map(str, shape))


def _more(count: int) -> str:
    return f" ({count} tensors in all)" if count > 1 else ""
