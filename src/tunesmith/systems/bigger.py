"""More than tuning: a bigger model behind an OpenAI-compatible server, asked the same questions with the same settings."""

from __future__ import annotations

from typing import Any

from tunesmith.core.errors import GeneratorError
from tunesmith.data.synth.endpoint import Wording
from tunesmith.systems.addressed import ModelAtAddress
from tunesmith.systems.system import NotMeasured, SystemInputs, SystemKind

__all__ = ["SYSTEM", "WORDS"]

WORDS = Wording("the bigger model", "bigger", "the other systems are measured again", "--set bigger.url='' leaves it out")


def _open(inputs: SystemInputs, _: Any) -> ModelAtAddress | NotMeasured:
    if inputs.address is None:
        return NotMeasured("no address of a bigger model is given: it is not measured")
    try:
        return ModelAtAddress(inputs.address, name="bigger", words=WORDS)
    except GeneratorError as error:
        return NotMeasured(f"the bigger model is not measured: {error}")


SYSTEM = SystemKind(
    name="bigger",
    title="bigger model",
    role="addition",
    order=60,
    advice="bigger model",
    needs=("address",),
    open=_open,
    required=False,
)
