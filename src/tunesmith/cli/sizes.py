"""Tables of `plan --params` and `lora`, 80 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.cli.render import console, table

if TYPE_CHECKING:
    from tunesmith.api import LoraSizes, ModelSize

__all__ = ["show_lora", "show_model"]

_GIB = 2**30
_ITEMS = ("weights", "adapter", "gradients", "optimizer", "activations", "libraries", "total")


def show_model(name: str, found: ModelSize) -> None:
    """Parameters, memory of training and serving, GPUs, time."""
    settings, say = found.settings, console()
    if found.recognised:
        say.print(f"  ! {name} is read {found.recognised}")
    active = f", {found.active_parameters:,} active per token" if found.active_parameters < found.parameters else ""
    shares = [[kind, f"{count:,}", f"{count / found.parameters:.1%}"] for kind, count in found.by_kind.items()]
    table(f"{found.model_type}: {found.parameters:,} parameters{active}", ["kind", "parameters", "share"], shares)
    checkpointing = ", gradient checkpointing" if settings.checkpointing else ""
    how = f"{settings.batch} × {settings.length:,} tokens, {settings.precision}, {settings.optimizer}{checkpointing}"
    rows = [[item, *(_gib(getattr(memory, item)) for memory in found.training.values())] for item in _ITEMS]
    head = f"\nTraining, GiB: {how}\nadapters of rank {settings.rank}: {found.adapter_parameters:,} parameters"
    table(head, ["", *found.training], rows)
    rows = [
        [row.format, f"{row.bits_per_weight:.2f}", _gib(row.weights), _gib(row.kv_cache), _gib(row.total)]
        for row in found.serving
    ]
    asked = f"{settings.requests} × {settings.context:,} tokens"
    table(f"\nServing, GiB: {asked}", ["format", "bits/weight", "weights", "KV cache", "total"], rows)
    rows = [
        [
            gpu.name,
            f"{gpu.memory_gib:g}",
            "no price" if gpu.usd_per_hour is None else f"{gpu.usd_per_hour:.2f}",
            _listed(gpu.trains, tuple(found.training)),
            _listed(gpu.serves, tuple(row.format for row in found.serving)),
        ]
        for gpu in found.gpus
    ]
    table("\nOne GPU", ["name", "GiB", "$/h", "trains", "serves"], rows)
    console().print("  prices differ between providers and change: --prices FILE takes your own table")
    _show_time(found)


def _show_time(found: ModelSize) -> None:
    say, time = console(), found.time
    if time is None:
        say.print("  hint: --tokens N times this machine and gives hours for N training tokens")
        return
    hours, busy = time.seconds / 3600, "; the machine is busy now" if time.busy else ""
    money = "" if time.usd is None else f", {time.usd:,.2f} $ at {time.usd_per_hour:g} $/h"
    say.print(f"  {time.method} over {time.tokens:,} tokens on {time.machine}: {hours:,.1f} h{money}{busy}")


def _listed(fitting: tuple[str, ...], every: tuple[str, ...]) -> str:
    """All or none in a word; of an ordered list of formats the first that fits, with the smaller ones implied."""
    if not fitting:
        return "no"
    if len(fitting) == len(every):
        return "all"
    return (
        " ".join(fitting)
        if len(fitting) < 4 and fitting[0] in ("full", "lora", "dora", "qlora")
        else f"{fitting[0]} and smaller"
    )


def show_lora(found: LoraSizes) -> None:
    """A line for each rank, and the largest rank for each size."""
    say = console()
    about = "" if found.exact else "about "
    title = f"{found.modules:,} adapted layers of a model of {about}{found.model_parameters:,} parameters"
    rows = [
        [
            str(row.rank),
            f"{row.parameters:,}",
            f"{row.share:.3%}",
            f"{row.adapter_mb:,.1f}",
            f"{row.adapter_mb_bf16:,.1f}",
            f"{row.memory_bytes / _GIB:,.1f}",
            f"{row.memory_saved_bytes / _GIB:,.1f} ({row.memory_saved_share:.0%})",
        ]
        for row in found.ranks
    ]
    table(title, ["rank", "parameters", "share", "MB fp32", "MB bf16", "GiB", "GiB saved"], rows)
    rows = [[f"{one.budget_mb:g} MB", str(one.rank or "none"), str(one.rank_bf16 or "none")] for one in found.budgets]
    table("\nLargest rank", ["file up to", "fp32", "bf16"], rows)
    for text in found.assumed:
        say.print(f"  assumed: {text}")
    say.print(f"  GiB: weights in {found.precision}, adapter, gradients and AdamW; activations come on top")


def _gib(size: int) -> str:
    return f"{size / _GIB:,.2f}"
