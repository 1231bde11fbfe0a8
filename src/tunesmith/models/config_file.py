"""Where the config.json of a model is on this machine, by the name that people use. Needs no weights, fetches nothing."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.models.bases import BASES, EMBEDDED, cache_folder

__all__ = ["config_file"]


def config_file(name: str) -> Path:
    """The file behind a path of a file or folder, a name of `tunesmith bases`, or a hub id whose config is in the hub's cache.

    Raises:
        ModelError: it means nothing, or is not on this machine.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return path
    if name == EMBEDDED:
        return Path(__file__).parent / EMBEDDED / "config.json"
    kept = cache_folder() / "bases" / name / "config.json"
    if name in BASES and kept.is_file():
        return kept
    hub = BASES[name].hub if name in BASES else name
    found = _from_hub_cache(hub) if hub.count("/") == 1 and not name.startswith((".", "/", "~")) else None
    if found is None:
        raise ModelError(
            "no config of a model under this name",
            value=name,
            expected=f"config.json, a folder that holds it, {EMBEDDED}, or a model that is on this machine; nothing is fetched",
            hint=f"tunesmith bases --fetch {name}" if name in BASES else "--params FOLDER/config.json",
        )
    return found


def _from_hub_cache(hub_id: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(hub_id, "config.json")
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
