"""A tiny base with adapters of unlike rank and target, saved as peft saves them, and the registry that serves them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import torch

from fakes import make_base
from tunesmith.core.artifacts import Store
from tunesmith.models.adapters import attach, save_adapter
from tunesmith.models.load import find_base, load_model
from tunesmith.serve.loading.asked import Loading, named
from tunesmith.serve.loading.load import load_all
from tunesmith.serve.registry import Registry

__all__ = ["loaded", "make_adapter", "make_adapters", "raised"]


def make_adapter(base: Path, folder: Path, *, seed: int, rank: int = 4, leaves: tuple[str, ...] = ("q_proj", "v_proj")) -> Path:
    """An adapter that changes answers."""
    found = find_base(str(base))
    model = load_model(found, "float32")
    modules = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n.rsplit(".", 1)[-1] in leaves]
    adapted, _ = attach(model, kind="lora", rank=rank, alpha=8.0, dropout=0.0, modules=modules, seed=seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    save_adapter(adapted, found.address, folder)
    return folder


def make_adapters(root: Path) -> tuple[Path, dict[str, Path]]:
    """A base, and adapters `a` and `b` of it."""
    base = make_base(root / "tiny")
    return base, {
        "a": make_adapter(base, root / "a", seed=1),
        "b": make_adapter(base, root / "b", seed=2, rank=2, leaves=("gate_proj", "down_proj")),
    }


def loaded(root: Path, *references: str, **how: Any) -> tuple[Registry, list[Any]]:
    """References opened as `tunesmith serve` opens them, and those that were refused."""
    registry = Registry()
    loading = Loading(store=Store(root / ".tunesmith"), **{"rows": 8, **how})
    refused = asyncio.run(load_all([named(one) for one in references], loading, registry))
    return registry, list(refused)


def raised(found: tuple[Registry, list[Any]]) -> None:
    """Raise the one reason why nothing is served, as a start without anything to serve does."""
    registry, (reason,) = found
    assert not list(registry)
    raise reason
