"""Scaling that leaves the bits of a result alone."""

from __future__ import annotations

import torch
from torch import Tensor


def power_of_two_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two powers of two whose product brings max |x| of each float64 matrix into [1/2, 1).

    Two, because one would not reach from the smallest numbers to 1. They are made from their bits:
    a library's exp2 need not be exact, and only an exact scale leaves the bits of the result alone.
    Zero and non-finite matrices are left as they are.
    """
    largest = x.abs().amax((-2, -1), keepdim=True)
    sane = torch.isfinite(largest) & (largest > 0)
    exponent = torch.frexp(torch.where(sane, largest, 0.5)).exponent.to(torch.int64)
    first = torch.div(-exponent, 2, rounding_mode="floor")

    def power(n: Tensor) -> Tensor:
        return ((n + 1023) << 52).view(torch.float64)

    return power(first), power(-exponent - first)
