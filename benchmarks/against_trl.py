"""What the comparisons of losses and gradients with TRL share: the model under test, its gradient, the table and the goal."""

from __future__ import annotations

from typing import Any

import torch

from record import write_result
from tunesmith.models.adapters import attach
from tunesmith.models.load import load_model
from tunesmith.models.reach import choose_modules

GOAL = 1e-5  # relative


def adapted(base: Any) -> Any:
    """The base in float32 under an adapter whose update is not zero."""
    model = load_model(base, "float32")
    made, _ = attach(model, kind="lora", rank=8, alpha=16.0, dropout=0.0, modules=choose_modules(model, "all", "all"), seed=7)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


def base_as_reference(model: Any) -> None:
    """Make TRL's reference of an adapted model, which is a copy of its adapter, the base."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.ref" in name:
                parameter.zero_()


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    """Of all trained tensors, in one row."""
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.requires_grad and p.grad is not None])


def compared(name: str, mine: tuple[float, Any], other: tuple[float, Any], exact: tuple[float, Any]) -> dict[str, Any]:
    """A row of the table. A loss near 0 is a sum of terms near 1, so its difference is relative to 1 where it is smaller.

    `exact`: TRL's in float64, from which each of the two differs by its own rounding.
    """

    def differs(a: Any, b: Any) -> float:
        return float((a - b).norm() / b.norm())

    row = {
        "what": name,
        "loss": mine[0],
        "TRL's loss": other[0],
        "loss differs by": abs(mine[0] - other[0]) / max(1.0, abs(other[0])),
        "gradient differs by": differs(mine[1], other[1]),
        "ours from float64": differs(mine[1], exact[1]),
        "TRL's from float64": differs(other[1], exact[1]),
    }
    print(row, flush=True)
    return row


def conclude(theme: str, base: str, rows: list[dict[str, Any]], *, record: bool) -> None:
    """Write the table if asked to; fail above 1e-5, or for gradients above three times the rounding of TRL itself."""
    if record:
        work = {"base": base, "adapter": "LoRA rank 8 on all linear layers, drawn weights", "type": "float32"}
        write_result(theme, work, rows)
    for row in rows:
        rounding = max(GOAL, 3 * row["TRL's from float64"])
        if row["loss differs by"] > GOAL or row["gradient differs by"] > rounding:
            raise SystemExit(f"{row['what']}: losses or gradients differ by more than 1e-5 and more than rounding")
