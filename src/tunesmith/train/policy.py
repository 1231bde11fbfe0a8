"""The formulas of policy methods, as functions of tensors: advantages, ratios, divergences, and their losses.

Shapes: G groups of S answers, R rows (answers), N target tokens of all rows, T those of one row, V vocabulary. `row_N` says
which row a token is of. All logarithms are natural.
"""

from __future__ import annotations

from typing import Literal

import torch

__all__ = [
    "Level",
    "Scale",
    "clipped_loss",
    "clipped_value_loss",
    "generalised_advantages",
    "group_advantages",
    "k3",
    "leave_one_out",
    "log_ratio",
    "mean_by_row",
    "whitened",
]

Scale = Literal["group", "batch", "none"]
Level = Literal["token", "answer"]
_LEAST_SPREAD = 1e-4  # added to a standard deviation, so that equal rewards divide by something
_LEAST_VARIANCE = 1e-8


def group_advantages(rewards_GS: torch.Tensor, scale: Scale) -> torch.Tensor:
    """advantage_GS: the reward less the mean of its group (Shao et al. 2024, arXiv:2402.03300, section 4.1.2).

    `group` divides by the standard deviation of the group, `batch` by that of all rewards, `none` by nothing (Dr. GRPO,
    Liu et al. 2025, arXiv:2503.20783: dividing weighs prompts by how even their rewards are).
    """
    centred_GS = rewards_GS - rewards_GS.mean(1, keepdim=True)
    if scale == "none" or rewards_GS.shape[1] < 2:
        return centred_GS
    spread = rewards_GS.std(1, keepdim=True) if scale == "group" else rewards_GS.std()
    return centred_GS / (spread + _LEAST_SPREAD)


def leave_one_out(rewards_GS: torch.Tensor) -> torch.Tensor:
    """advantage_GS: the reward less the mean of the other answers to its prompt (Ahmadian et al. 2024, arXiv:2402.14740)."""
    S = rewards_GS.shape[1]
    others_GS = (rewards_GS.sum(1, keepdim=True) - rewards_GS) / max(1, S - 1)
    return rewards_GS - others_GS if S > 1 else torch.zeros_like(rewards_GS)


def k3(log_p_N: torch.Tensor, log_base_N: torch.Tensor) -> torch.Tensor:
    """An unbiased, never negative estimate of KL(π ‖ base) from tokens drawn from π (Schulman 2020): r − 1 − log r with
    r = base / π.
    """
    log_r_N = log_base_N - log_p_N
    return torch.exp(log_r_N) - log_r_N - 1


def mean_by_row(values_N: torch.Tensor, row_N: torch.Tensor, num_rows: int) -> torch.Tensor:
    """The mean over the tokens of each row."""
    zeros_R = values_N.new_zeros(num_rows)
    count_R = zeros_R.index_add(0, row_N, torch.ones_like(values_N))
    return zeros_R.index_add(0, row_N, values_N) / count_R.clamp(min=1)


def log_ratio(log_p_N: torch.Tensor, old_N: torch.Tensor, row_N: torch.Tensor, num_rows: int, level: Level) -> torch.Tensor:
    """log of the importance ratio of each token: its own, or with `answer` the mean over its answer (GSPO, Zheng et al. 2025,
    arXiv:2507.18071, equation 7).
    """
    log_ratio_N = log_p_N - old_N
    return log_ratio_N if level == "token" else mean_by_row(log_ratio_N, row_N, num_rows)[row_N]


def clipped_loss(log_ratio_N: torch.Tensor, advantage_N: torch.Tensor, *, low: float, high: float) -> torch.Tensor:
    """−min(ratio · A, clip(ratio, 1 − low, 1 + high) · A) (Schulman et al. 2017, arXiv:1707.06347, equation 7).

    `high` above `low` leaves rare tokens room to grow (clip-higher; DAPO, Yu et al. 2025, arXiv:2503.14476).
    """
    ratio_N = torch.exp(log_ratio_N)
    clipped_N = ratio_N.clamp(1 - low, 1 + high)
    return -torch.minimum(ratio_N * advantage_N, clipped_N * advantage_N)


def generalised_advantages(rewards_T: torch.Tensor, values_T: torch.Tensor, *, gamma: float, lam: float) -> torch.Tensor:
    """advantage_T of one answer, which ends with its last token (Schulman et al. 2015, arXiv:1506.02438, equation 16).

    `values_T`: the value before each token; after the last one it is zero.
    """
    advantage_T = torch.zeros_like(rewards_T)
    following, value_after = rewards_T.new_zeros(()), rewards_T.new_zeros(())
    for t in reversed(range(len(rewards_T))):
        surprise = rewards_T[t] + gamma * value_after - values_T[t]
        following = surprise + gamma * lam * following
        advantage_T[t], value_after = following, values_T[t]
    return advantage_T


def whitened(values_N: torch.Tensor) -> torch.Tensor:
    """The values with mean 0 and variance 1; those of fewer than two tokens as they are."""
    if len(values_N) < 2:
        return values_N
    return (values_N - values_N.mean()) * torch.rsqrt(values_N.var() + _LEAST_VARIANCE)


def clipped_value_loss(value_N: torch.Tensor, before_N: torch.Tensor, return_N: torch.Tensor, *, clip: float) -> torch.Tensor:
    """½ max((V − R)², (V_clipped − R)²), V_clipped within `clip` of the value before the updates (Schulman et al. 2017; as in
    OpenAI's implementation, which the paper does not write down)."""
    near_N = torch.clamp(value_N, before_N - clip, before_N + clip)
    return 0.5 * torch.maximum((value_N - return_N).square(), (near_N - return_N).square())
