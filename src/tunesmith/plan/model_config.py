"""A model's config.json: read from a file or folder, its values checked one by one. Nothing that is missing is guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError

__all__ = ["ConfigFields", "read_config"]

_LARGEST = 2**40  # no count of a config is larger; it keeps products exact and quick


def read_config(path: Path) -> dict[str, Any]:
    """The config of a model from its config.json, or from the folder with that file.

    Raises:
        ModelError: there is no such file, or it does not hold a JSON object.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            "cannot read the config of the model",
            value=str(file),
            expected="config.json of a model, or the folder that holds it",
            hint=f"check the path ({error.strerror or type(error).__name__})",
        ) from error
    except ValueError as error:
        raise ModelError(
            "the config of the model is not JSON",
            value=str(file),
            expected="config.json as it comes with the model",
            hint=f"download it again ({error})",
        ) from error
    if not isinstance(found, dict):
        raise ModelError(
            "the config of the model is not a JSON object",
            value=type(found).__name__,
            expected='an object such as {"model_type": "llama", "hidden_size": 4096, …}',
            hint=f"check {file}",
        )
    return found


@dataclass(frozen=True, slots=True)
class ConfigFields:
    """Values of a config. `defaults` are those that the library's class takes for keys that published configs leave out."""

    values: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """The value as it is; None if it is null, or missing without a default."""
        return self.values[name] if name in self.values else self.defaults.get(name)

    def count(self, name: str, *, otherwise: int | None = None) -> int:
        """A whole number above zero; `otherwise` where it is missing or null. ModelError if there is neither."""
        value = self.get(name)
        if value is None:
            value = otherwise
        if value is None:
            raise ModelError(
                "the config of the model lacks a value",
                value=name,
                expected=f"a whole number under {name!r}; this model type has no default for it",
                hint="use the complete config.json that comes with the model",
            )
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _LARGEST:
            raise _wrong(name, value, "a whole number above zero")
        return value

    def flag(self, name: str, *, otherwise: bool = False) -> bool:
        """true or false; `otherwise` where it is missing or null."""
        value = self.get(name)
        if value is None:
            return otherwise
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
        return value

    def names(self, name: str, length: int) -> list[str] | None:
        """A list of `length` names, one per layer; None where it is missing or null."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != length or not all(isinstance(one, str) for one in value):
            raise _wrong(name, value, f"a list of {length} names, one per layer")
        return list(value)

    def part(self, name: str, defaults: Mapping[str, Any]) -> ConfigFields:
        """A config inside the config."""
        value = self.get(name)
        if not isinstance(value, Mapping):
            raise _wrong(name, value, "an object with the config of this part")
        return ConfigFields(value, defaults)


def _wrong(name: str, value: object, expected: str) -> ModelError:
    return ModelError(
        f"wrong value for {name} in the config of the model",
        value=value,
        expected=expected,
        hint="use the config.json that comes with the model",
    )
