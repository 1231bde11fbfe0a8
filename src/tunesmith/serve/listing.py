"""What a client may ask for: the versions of the registry, and the names that traffic gives a meaning."""

from __future__ import annotations

from typing import Any

from tunesmith.serve.errors import ApiError
from tunesmith.serve.pipeline import Pipeline
from tunesmith.serve.registry import Version

__all__ = ["about", "list_models"]


def list_models(pipeline: Pipeline) -> list[dict[str, Any]]:
    """An entry in the form of OpenAI's models for each version, and for each name that only traffic knows.

    `stands_for`: what a request for the name means beside or instead of that version.
    """
    versions, meanings = list(pipeline.registry), pipeline.meanings()
    known = {name for version in versions for name in (version.name, version.full_name)}
    named = [_of_traffic(name, meant, pipeline) for name, meant in meanings.items() if name not in known]
    return [*(_of_version(version, pipeline, meanings) for version in versions), *named]


def about(name: str, pipeline: Pipeline) -> dict[str, Any]:
    """The entry of one name. ApiError 404 for one that means nothing here."""
    meanings = pipeline.meanings()
    try:
        return _of_version(pipeline.registry.resolve(name), pipeline, meanings)
    except ApiError:
        if name not in meanings:
            raise
        return _of_traffic(name, meanings[name], pipeline)


def _of_version(version: Version, pipeline: Pipeline, meanings: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "id": version.name,
        "object": "model",
        "created": version.created,
        "owned_by": "tunesmith",
        "version": version.id,
        "aliases": list(pipeline.registry.aliases_of(version)),
        "engine": version.engine.name,
        "label": version.label,
        "base": version.base or None,
        "prompt_parity": version.parity,
        "stands_for": [*meanings.get(version.name, []), *meanings.get(version.full_name, [])],
    }


def _of_traffic(name: str, meant: list[dict[str, Any]], pipeline: Pipeline) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": min((version.created for version in pipeline.registry), default=0),
        "owned_by": "tunesmith",
        "version": None,
        "aliases": [],
        "engine": None,
        "label": ", ".join(one["kind"] for one in meant),
        "base": None,
        "prompt_parity": None,
        "stands_for": meant,
    }
