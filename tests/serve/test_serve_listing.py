"""What `/v1/models` lists: every name that a client may ask for, and what it stands for now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from echo_engine import Echo, opened, registry_of
from running_server import running

from tunesmith.api.traffic import ab_set
from tunesmith.core.errors import ModelError

TRAFFIC: dict[str, Any] = {
    "ab": {"both": {"old": 1.0, "new": 3.0}},
    "canary": {"mine": {"stable": "old", "canary": "new", "steps": [20.0, 100.0]}},
    "shadow": {"old": "new", "safe": "new"},
    "fallback": {"safe": [{"model": "new", "seconds": 5.0}, {"model": "old"}]},
}


def listed(client: openai.OpenAI) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in client.models.list():
        extra: Any = one.model_extra
        assert one.object == "model" and one.created > 0 and one.id not in found
        found[one.id] = extra["stands_for"]
        assert extra["label"] and (extra["version"] is None) == (one.id not in ("old", "new"))
    return found


def test_every_name_that_can_be_asked_for_is_listed_with_what_it_stands_for_now(tmp_path: Path) -> None:
    registry = registry_of(Echo(), "old", "new")
    traffic = opened(tmp_path / "serve.db", registry=registry, capture=True, **TRAFFIC)
    with running(registry, traffic=traffic) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        assert listed(client) == {
            "old": [{"kind": "shadow", "model": "new"}],
            "new": [{"kind": "grown", "by": "mine", "percent": 20.0}],
            "both": [{"kind": "ab", "arms": {"old": 1, "new": 3}}],
            "mine": [{"kind": "canary", "arms": {"old": 80, "new": 20}, "stable": "old", "canary": "new", "steps": [20, 100]}],
            "safe": [{"kind": "shadow", "model": "new"}, {"kind": "fallback", "models": ["new", "old"]}],
        }
        ab_set("both", {"old": 0, "new": 1}, url=server.url)
        ab_set("mine", {"old": 1, "new": 1}, url=server.url)
        now = listed(client)
        assert now["both"][0]["arms"] == {"old": 0, "new": 1} and now["new"][0]["percent"] == 50
        for name in now:  # each can be asked for, and looked up alone
            one: Any = client.models.retrieve(name)
            assert one.id == name and one.stands_for == now[name]
            assert client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Tea?"}]).choices
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nobody")


def test_a_shadow_of_a_name_that_never_answers_is_refused(tmp_path: Path) -> None:
    for name in ("nobody", "both"):
        with pytest.raises(ModelError, match="not served"):
            opened(
                tmp_path / "x.db",
                registry=registry_of(Echo(), "old", "new"),
                capture=True,
                ab={"both": {"old": 1.0}},
                shadow={name: "new"},
            )
