"""Polar Express (arXiv 2505.16932): the best table of quintics for any lower bound and length.

A step takes singular values from [l, u], whose middle is 1, and applies the odd quintic that comes
closest to 1 on it. That leaves them in [1 - e, 1 + e], for which the next step is made. Greedy as
this is, no other composition of as many odd quintics ends closer to 1: that is the paper's theorem.

**One step.** The closest quintic P is the one whose error has the same size and changing sign at
l < q < r < u: P(l) = P(r) = 1 - e, P(q) = P(u) = 1 + e, with extremes at q and r. Up to a factor,

    P(x) = x^5 - s x^3 + w x,   s = 5/3 (q^2 + r^2),   w = 5 q^2 r^2     from  P'(q) = P'(r) = 0.

P(x) - P(t) has a double root at an extreme t. What is left of it is a cubic in x, whose root is the
other point of the same height, and which says

    s = T(u, q) = T(l, r)   where   T(x, t) = (x^3 + 2 t x^2 + 3 t^2 x + 4 t^3) / (x + 2 t).

So q gives s, q and s give r, and one equation is left, for q in (l, u): T(l, r) - T(u, q) falls
from above zero to below it, and a root anywhere is the answer, for the closest quintic is unique.
Unlike a linear system for a, b, c and e this loses no digits as l nears u and e vanishes: there
is no threshold from where on the limit (15/8, -10/8, 3/8) must be put in its place.

**Two deviations for finite precision**, as in the paper. The *cushion* makes the polynomial for
[cushion u, u] where l lies below that, and then scales it to have [l, u] centred on 1. The *safety*
puts x / safety for x in every step but the last, and the next steps are made for what that leaves.
"""

from __future__ import annotations

import math
import numbers
from functools import lru_cache
from typing import Any

Triple = tuple[float, float, float]

# From here to 1 the closest quintic is off by e = 9/11, so that its dips stand at a tenth of its
# peaks. From a lower start they would be lower yet, and a singular value that a step takes far down
# has its rounding magnified on the way up again.
CUSHION = 0.02407327424182761

# A step is steepest at the interval's upper end: 24 at first, 12 while singular values are small.
# Without a margin above it the rounding of float32 grows by that in every step, and a matrix of
# rank 1, which starts there, can end infinite after ten. One step's rounding stays below 1e-4, and
# so small a margin costs nothing: it moves a table's error by a few percent.
SAFETY = 1.0001


def polar_express_table(
    lower_bound: float, steps: int, *, safety: float = SAFETY, cushion: float = CUSHION
) -> tuple[Triple, ...]:
    """The (a, b, c) of `steps` steps, for singular values from lower_bound to 1 of the norm.

    `ok.polar(x, "polar_express", coefficients=polar_express_table(1e-5, 10))`. A bound that is too
    high leaves what lies below it short of 1; one that is too low costs a step for each factor of
    4 or so. `polar_express_error` tells how many steps are enough.

    safety: the factor that rounding may add to a singular value in a step without driving it out
        of the interval. The default is made for float32 and float64; half precision needs 1.02.
    cushion: no step is made for less than this fraction of its interval's upper end. With safety 1
        and cushion 0 this is the closest composition there is, in exact arithmetic.
    """
    return _compose(*_checked("polar_express_table", lower_bound, steps, safety, cushion))[0]


def polar_express_error(
    lower_bound: float, steps: int, *, safety: float = SAFETY, cushion: float = CUSHION
) -> float:
    """How far from 1 the table leaves singular values from lower_bound to 1, in exact arithmetic.

    The largest error, and attained: it is what becomes of lower_bound itself.
    """
    return _compose(*_checked("polar_express_error", lower_bound, steps, safety, cushion))[1]


@lru_cache(maxsize=256)
def _compose(
    low: float, steps: int, safety: float, cushion: float
) -> tuple[tuple[Triple, ...], float]:
    """The table, and how far from 1 it ends."""
    high = 1.0
    table = []
    for step in range(steps):
        a, b, c = _closest_to_one(min(max(low / high, cushion), 1.0))
        a, b, c = a / high, b / high**3, c / high**5
        centre = 2 / (_value(a, b, c, low) + _value(a, b, c, high))
        # Undivided, the last step still ends at 1.
        divisor = safety if step < steps - 1 else 1.0
        a, b, c = centre * a / divisor, centre * b / divisor**3, centre * c / divisor**5
        table.append((a, b, c))
        # Below q the quintic rises, so that the lower end stays the lowest whatever the cushion and
        # the safety; the mirror of it in 1 is at or above every peak.
        low = _value(a, b, c, low)
        high = 2 - low
    return tuple(table), abs(1 - low)


def _closest_to_one(low: float) -> Triple:
    """The odd quintic closest to 1 on [low, 1]."""
    # Bisection ends at two neighbouring numbers, after some 54 steps; nothing here is in a hurry.
    left, right = low, 1.0
    while left < (q := (left + right) / 2) < right:
        s, r = _partners(q)
        if _height(low, r) > s:
            left = q
        else:
            right = q
    s, r = _partners(left)
    w = 5 * (left * r) ** 2
    centre = 2 / (_value(w, -s, 1.0, low) + _value(w, -s, 1.0, 1.0))
    return centre * w, centre * -s, centre


def _partners(q: float) -> tuple[float, float]:
    """s and r of the quintic with a peak at q and the same height at 1; q <= r <= 1 for q <= 1."""
    s = _height(1.0, q)
    return s, math.sqrt(0.6 * s - q * q)


def _height(x: float, t: float) -> float:
    """T(x, t): the s with which x has the height of the extreme at t."""
    return (x**3 + 2 * t * x**2 + 3 * t**2 * x + 4 * t**3) / (x + 2 * t)


def _value(a: float, b: float, c: float, x: float) -> float:
    return x * (a + x * x * (b + x * x * c))


def _checked(
    op: str, lower_bound: Any, steps: Any, safety: Any, cushion: Any
) -> tuple[float, int, float, float]:
    """The arguments as plain numbers, or an error in words."""
    for name, value in (("lower_bound", lower_bound), ("safety", safety), ("cushion", cushion)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{op}: {name} must be a number, got {type(value).__name__}")
    if isinstance(steps, bool) or not isinstance(steps, numbers.Integral):
        raise TypeError(f"{op}: steps must be an int, got {type(steps).__name__}")
    if not 0 < lower_bound <= 1:
        raise ValueError(f"{op}: lower_bound must be in (0, 1], got {lower_bound}")
    if steps < 1:
        raise ValueError(f"{op}: steps must be >= 1, got {steps}")
    # Dividing by 15/8 takes away all that a converged step gives.
    if not 1 <= safety < 1.875:
        raise ValueError(f"{op}: safety must be in [1, 1.875), got {safety}")
    if not 0 <= cushion <= 1:
        raise ValueError(f"{op}: cushion must be in [0, 1], got {cushion}")
    return float(lower_bound), int(steps), float(safety), float(cushion)
