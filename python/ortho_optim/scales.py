"""Scale rules: what a factor of m rows and n columns is multiplied by, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

Rule: TypeAlias = Callable[[int, int], float]
Scale: TypeAlias = "str | float | Rule"


def _none(m: int, n: int) -> float:
    """1: algorithm 6 as it is."""
    return 1.0


def _muon(m: int, n: int) -> float:
    """sqrt(max(1, m/n)): Keller Jordan's Muon; "original" in `torch.optim.Muon`."""
    return math.sqrt(max(1.0, m / n))


def _match_rms_adamw(m: int, n: int) -> float:
    """0.2 sqrt(max(m, n)): the root mean square of an entry is 0.2, about AdamW's.

    Liu et al., "Muon is Scalable for LLM Training", arXiv 2502.16982.
    """
    return 0.2 * math.sqrt(max(m, n))


def _spectral(m: int, n: int) -> float:
    """sqrt(m/n): the same change of a layer's output per unit of input at any width.

    Yang, Simon, Bernstein, "A Spectral Condition for Feature Learning", arXiv 2310.17813.
    """
    return math.sqrt(m / n)


SCALES: dict[str, Rule] = {
    "none": _none,
    "muon": _muon,
    "match_rms_adamw": _match_rms_adamw,
    "spectral": _spectral,
}


def scale_rule(scale: object) -> Rule | None:
    """The rule that a name, a number or a function (rows, columns) -> float stands for.

    None where there is nothing to multiply by.
    """
    if isinstance(scale, str) and scale in SCALES:
        return None if scale == "none" else SCALES[scale]
    if callable(scale):
        return scale
    if isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale < math.inf:
        number = float(scale)
        return lambda m, n: number
    raise ValueError(
        f"orthogonalize: scale must be one of {', '.join(map(repr, SCALES))}, a number > 0, or a "
        f"function (rows, columns) -> float, got {scale!r}"
    )
