"""The 95 % interval of a proportion."""

from __future__ import annotations

import math

__all__ = ["Z", "wilson"]

Z = 1.959963984540054  # of the normal distribution, for 95 %


def wilson(share: float, n: float) -> tuple[float, float]:
    """Low and high of the 95 % interval of a proportion seen in `n` independent trials (Wilson 1927).

    `n` may be an effective number; nothing is known (0 to 1) where it is 0.
    """
    if n <= 0:
        return 0.0, 1.0
    z2 = Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return (0.0 if share == 0 else max(0.0, middle - half), 1.0 if share == 1 else min(1.0, middle + half))
