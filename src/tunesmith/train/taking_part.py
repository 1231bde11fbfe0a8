"""What a process does that is not the first of its run: it waits for a run to begin, and trains along."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from tunesmith.core.reporter import SilentReporter
from tunesmith.train.run import train_together

__all__ = ["take_part"]


def take_part(processes: Any, train: Callable[..., object] = train_together) -> None:
    """Train along in every run that process 0 begins, until it ends. `processes`: as `together.joined` gives them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it waits; training has its own answer
    while (order := processes.received()) is not None:
        train(order, processes, SilentReporter())
