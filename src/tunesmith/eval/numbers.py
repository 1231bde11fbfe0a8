"""Numbers as text, the same in verdict, report and terminal. An improvement is positive where the model got better."""

from __future__ import annotations

from tunesmith.eval.proportions import Share

__all__ = ["percent", "signed", "signed_points", "signed_range"]


def signed(value: float, digits: int = 3) -> str:
    """With its sign: +0.012, −0.012."""
    return f"{value:+.{digits}f}".replace("-", "−")


def signed_range(gain: tuple[float, float, float], digits: int = 3) -> str:
    """Mean and interval: +0.012 [+0.004, +0.020]."""
    return f"{signed(gain[0], digits)} [{signed(gain[1], digits)}, {signed(gain[2], digits)}]"


def percent(share: Share, *, interval: bool = True) -> str:
    """95 % [88, 98], or “not measured”."""
    if share.share is None:
        return "not measured"
    ends = f" [{100 * share.ci.low:.0f}, {100 * share.ci.high:.0f}]" if interval and share.ci is not None else ""
    return f"{100 * share.share:.0f} %{ends}"


def signed_points(share: float) -> str:
    """A difference of shares in whole percentage points: +12, −3."""
    return f"{100 * share:+.0f}".replace("-", "−")
