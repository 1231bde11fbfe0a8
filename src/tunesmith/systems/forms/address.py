"""What answers at an address: a vLLM shows its prompts and log-probabilities, others little but their answers. What is lacking
is not measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tunesmith.core.errors import EvaluationError
from tunesmith.models.declared import DeclaredModel
from tunesmith.systems.engine_system import engine_system
from tunesmith.systems.opened import Form, OpenedSystem, Opening
from tunesmith.systems.placing import Place

__all__ = ["FORM"]

_UNKNOWN_CONTEXT = 2**31  # a server says when a prompt does not fit


@contextmanager
def _open(reference: str, place: Place, how: Opening) -> Iterator[OpenedSystem]:
    from tunesmith.engines.address import open_address

    url, model = place.url, place.model
    if not model:
        raise EvaluationError(
            "no model of the server is named",
            value=reference,
            expected="the address and the model's name as the server knows it",
            hint=f"{url}#NAME; most servers list their names at {url.rstrip('/')}/models",
        )
    if how.chat is None:
        raise EvaluationError(
            "a server alone does not say in which chat format it was trained",
            value=reference,
            expected="the model that was tested first, from its files; the server second",
            hint=f"tunesmith parity run:latest {reference}",
        )
    with open_address(url, model) as engine:
        yield OpenedSystem(
            reference=reference,
            label=f"{model} in {engine.name} {engine.version}".rstrip() + f" at {url}",
            engine=engine.name,
            form=f"{engine.name} at an address",
            system=engine_system(engine, how.chat, name=how.name or reference, label=reference, context=_UNKNOWN_CONTEXT),
            declared=DeclaredModel(where=url),
            context=_UNKNOWN_CONTEXT,
            chat=how.chat,
        )


FORM = Form(engine="address", order=10, fits=lambda place: bool(place.url), open=_open)
