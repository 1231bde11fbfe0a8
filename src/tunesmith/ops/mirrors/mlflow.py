"""MLflow: an SQLite file, or the server that the recipe names. A run is found again by its id, so that it is written once."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["send"]

_METRICS_AT_ONCE, _SETTINGS_AT_ONCE = 900, 90  # MLflow takes at most 1000 and 100
_CONNECT_S = 5.0
_RESULT = "result/"  # numbers of the whole run; the others are curves
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_PLACE = "http://127.0.0.1:5000"  # where `mlflow ui` listens if nothing else is said
_DIGEST = 36  # characters that MLflow takes


def send(run: Mapping[str, Any], folder: Path, name: str, address: str) -> str:
    """Write a payload to the experiment `name`; returns how to open it. OSError if nothing answers at the address."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    if address:
        _reach(address)
    uri = address or f"sqlite:///{(folder / 'mlflow.db').resolve().as_posix()}"
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(name)
    own = None if address else (folder / "mlflow-artifacts").resolve().as_uri()
    experiment = known.experiment_id if known else client.create_experiment(name, artifact_location=own, tags=_KIND)
    found = client.search_runs([experiment], f"tags.`tunesmith.run_id` LIKE '{run['id'][:16]}%'", max_results=1)
    tags = run["tags"]
    made = found[0] if found else client.create_run(experiment, start_time=run["began_ms"], run_name=run["name"], tags=tags)
    id, last = made.info.run_id, run["ended_ms"]
    metrics = [Metric(f"{_RESULT}{key}", value, last, 0) for key, value in run["numbers"].items()]
    metrics += _curves(run, _steps_of(client, id, made.data.metrics))
    settings = [Param(key, value) for key, value in run["settings"].items()]
    for start in range(0, len(metrics), _METRICS_AT_ONCE):
        client.log_batch(id, metrics=metrics[start : start + _METRICS_AT_ONCE])
    for start in range(0, len(settings), _SETTINGS_AT_ONCE):
        client.log_batch(id, params=settings[start : start + _SETTINGS_AT_ONCE])
    notes = {"mlflow.note.content": run["summary"], "mlflow.source.name": "tunesmith", "mlflow.source.type": "LOCAL"}
    for key, value in {**tags, **notes}.items():
        client.set_tag(id, key, value)
    _name_dataset(client, id, tags.get("tunesmith.dataset_id", ""))
    if run["done"]:
        client.update_run(id, name=run["name"])  # which a run under way does not have yet
        client.set_terminated(id, "FINISHED", end_time=last)
    runs = f"/#/experiments/{experiment}/runs"  # the page of the experiment itself begins with traces of agents
    return f"{address.rstrip('/')}{runs}" if address else f"mlflow ui --backend-store-uri {uri}   then {_PLACE}{runs}"


def _name_dataset(client: Any, id: str, dataset: str) -> None:
    """In MLflow's own column, so that runs on the same data are seen to be. Known ones are not added again."""
    from mlflow.entities import Dataset, DatasetInput

    if dataset:
        named = Dataset(f"dataset {dataset[:8]}", dataset[:_DIGEST], "tunesmith", f"dataset:{dataset[:16]}")
        client.log_inputs(id, datasets=[DatasetInput(named)])


def _steps_of(client: Any, id: str, known: Iterable[str]) -> dict[str, int]:
    """The last step of each curve that is there already."""
    curves = [key for key in known if not key.startswith(_RESULT)]
    return {key: max(one.step for one in client.get_metric_history(id, key)) for key in curves}


def _curves(run: Mapping[str, Any], there: Mapping[str, int]) -> list[Any]:
    """The points of all curves beyond the steps that are `there`."""
    from mlflow.entities import Metric

    span = max(1, max((row["step"] for row in run["curves"]), default=1))
    found = []
    for row in run["curves"]:
        step = int(row["step"])
        at = run["began_ms"] + round((run["ended_ms"] - run["began_ms"]) * step / span)
        found += [Metric(key, value, at, step) for key, value in row.items() if key != "step" and step > there.get(key, -1)]
    return found


def _reach(address: str) -> None:
    """OSError at once if nothing answers: MLflow itself would ask again for minutes."""
    place = urlsplit(address)
    port = place.port or (443 if place.scheme == "https" else 80)
    with socket.create_connection((place.hostname or "", port), timeout=_CONNECT_S):
        return
