"""Model folders in few bits that transformers opens through the library that wrote them: what all of them share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.memory import release_memory
from tunesmith.systems.forms.folder import TRANSFORMERS, opened_whole
from tunesmith.systems.opened import Form, OpenedSystem, Opening, needed
from tunesmith.systems.placing import Place

__all__ = ["quantised_form"]

_KEY = "quantization_config"


def quantised_form(
    method: str,
    *,
    order: int,
    packages: Callable[[Mapping[str, Any]], Mapping[str, str]],
    kind: Callable[[Mapping[str, Any]], str],
    whole: Callable[[BaseFolder], Any],
) -> Form:
    """The form of folders whose config.json names the `method`. By their quantisation_config: the `packages` that open one,
    with how each is installed, and its `kind`, the row of the table of tolerances. `whole`: the model with plain weights."""

    def fits(place: Place) -> bool:
        return place.adapter is None and _stated(Path(place.model).expanduser()).get("quant_method") == method

    @contextmanager
    def opened(reference: str, place: Place, how: Opening) -> Iterator[OpenedSystem]:
        stated = _stated(Path(place.model).expanduser())
        for package, install in packages(stated).items():
            needed(package, engine=f"{TRANSFORMERS}, for {kind(stated)},", install=install)
        folder = find_base(place.model, reporter=how.reporter, quantised=True)
        about: dict[str, Any] = {"form": kind(stated), "words": kind(stated), "weights": lambda: whole(folder)}
        yield opened_whole(reference, place, folder, how, **about)
        release_memory()

    return Form(engine=TRANSFORMERS, order=order, fits=fits, open=opened)


def _stated(folder: Path) -> Mapping[str, Any]:
    """What config.json says of the quantisation; nothing for a file that cannot be read, which whoever opens it reports."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        found = config.get(_KEY) if isinstance(config, dict) else None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}
