"""The published losses of preference methods as functions of log-probabilities and rewards alone, one value a pair or row.

Every tensor holds one number a pair (U) or a row (R), in nats. Tests hold them against independent formulas.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = [
    "conservative",
    "identity_preference",
    "kahneman_tversky",
    "log_odds",
    "odds_ratio",
    "robust",
    "simple",
]

_CERTAIN = -1e-12  # nats per token: log(1 − p) is finite up to here


def conservative(margin_U: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """−(1 − ε) log σ(m) − ε log σ(−m). ε = 0 is DPO (Rafailov et al. 2023, arXiv:2305.18290, equation 7); ε > 0 is
    conservative DPO (Mitchell 2023, "A note on DPO with noisy preferences")."""
    loss_U = -F.logsigmoid(margin_U)
    if not label_smoothing:
        return loss_U
    return (1 - label_smoothing) * loss_U - label_smoothing * F.logsigmoid(-margin_U)


def robust(margin_U: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """(−(1 − ε) log σ(m) + ε log σ(−m)) / (1 − 2ε): without bias if a share ε < 1/2 of the pairs is swapped (Chowdhury et al.
    2024, arXiv:2403.00409)."""
    clean_U, swapped_U = -F.logsigmoid(margin_U), -F.logsigmoid(-margin_U)
    return ((1 - label_smoothing) * clean_U - label_smoothing * swapped_U) / (1 - 2 * label_smoothing)


def identity_preference(difference_U: torch.Tensor, beta: float) -> torch.Tensor:
    """(d − 1 / (2β))² for the difference d of the two ratios (IPO; Azar et al. 2023, arXiv:2310.12036, equation 17)."""
    return (difference_U - 1 / (2 * beta)).square()


def simple(chosen_U: torch.Tensor, rejected_U: torch.Tensor, *, beta: float, gamma: float) -> torch.Tensor:
    """−log σ(β (c − r) − γ) for mean log-probabilities a token (SimPO; Meng et al. 2024, arXiv:2405.14734, equation 6)."""
    return -F.logsigmoid(beta * (chosen_U - rejected_U) - gamma)


def log_odds(log_p: torch.Tensor) -> torch.Tensor:
    """log(p / (1 − p)) of probabilities given as logarithms."""
    log_p = log_p.clamp(max=_CERTAIN)
    return log_p - torch.log(-torch.expm1(log_p))


def odds_ratio(chosen_U: torch.Tensor, rejected_U: torch.Tensor) -> torch.Tensor:
    """−log σ(log odds(chosen) − log odds(rejected)) for mean log-probabilities a token (ORPO; Hong et al. 2024,
    arXiv:2403.07691, equation 7)."""
    return -F.logsigmoid(log_odds(chosen_U) - log_odds(rejected_U))


def kahneman_tversky(
    ratio_R: torch.Tensor, desirable_R: torch.Tensor, kl_R: torch.Tensor, *, beta: float, weights: tuple[float, float]
) -> torch.Tensor:
    """λ (1 − σ(±β (ratio − KL))), + where `desirable_R` and − elsewhere, with λ the first of `weights` there and the second
    elsewhere (KTO; Ethayarajh et al. 2024, arXiv:2402.01306, section 4.1)."""
    sign_R = torch.where(desirable_R, 1.0, -1.0).to(ratio_R)
    good, bad = (ratio_R.new_tensor(weight) for weight in weights)
    weight_R = torch.where(desirable_R, good, bad)
    return weight_R * torch.sigmoid(-sign_R * beta * (ratio_R - kl_R))
