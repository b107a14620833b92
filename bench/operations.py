"""The operations of `exact` on a float32 matrix, as csrc/cpu/exact.cc and inverse_root.h take them.

Two to a multiply-add, symmetric results and triangles at half price: an inverse of side m takes
m^3, a symmetric product m^3, a full one 2 m^3. What costs O(m^2) or O(m n) is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, inf, pi, sqrt

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

TOLERANCE = 2e-7
FLOAT_CONDITION = 7.0  # below it the rest runs in float32
FLOAT_APPLY_ERROR = 2e-6  # where float32 errs by less, the product with X does
SMALLEST_FLOAT_TAIL = 16
RANK_MARGIN = 0.05
RTOL = 4 * 2.0**-23
SERIES_PRODUCTS = {1: 0, 2: 1, 4: 2, 6: 3}  # by degree
NULL_BLOCK, NULL_PRODUCTS = 8, 3


@dataclass
class Operations:
    float64: float = 0.0
    float32: float = 0.0

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.float64 + other.float64, self.float32 + other.float32)

    def seconds(self, rate64: float, rate32: float) -> float:
        """At so many operations a second."""
        return self.float64 / rate64 + self.float32 / rate32


def exact(rows: int, columns: int, sigma: NDArray[np.float64]) -> Operations:
    """For singular values `sigma`, of which few or none lie below the rank threshold."""
    m, n = sorted((rows, columns))
    if m == 1:
        return Operations()
    cube, tail = float(m) ** 3, m >= SMALLEST_FLOAT_TAIL
    eigenvalues = np.asarray(sigma, float) ** 2
    count = Operations(float64=m * m * n + cube)  # the Gram matrix, and its inverse for the bounds
    high = _norm(eigenvalues)
    condition = sqrt(high * _norm(1 / eigenvalues))
    kept = sigma > RTOL * sigma.max()
    if condition * RTOL > RANK_MARGIN and not kept.all():
        # Inverse iteration, the block's product with X, and the inverse without null directions.
        count.float64 += 2 * NULL_BLOCK * m * (NULL_PRODUCTS * m + n) + cube
        eigenvalues = np.where(kept, eigenvalues, eigenvalues.max())
        reached = sqrt(high * _norm(1 / eigenvalues))
    else:
        reached = condition
    inverses, products, left, factored = _inverse_root(
        reached, FLOAT_CONDITION if tail else 0.0, inverted=True
    )
    count.float64 += (inverses + products) * cube
    handed_over = left > 1
    if handed_over:
        inverses, products, _, _ = _inverse_root(left, 0.0, inverted=False)
        count.float32 += (inverses + products) * cube
    product_with_x = 2.0 * m * m * n
    if handed_over and not factored:
        count.float32 += product_with_x
    elif handed_over and 2 * n <= 3 * m:
        count += Operations(product_with_x, product_with_x)
    else:
        count.float64 += 2 * cube if handed_over else 0.0
        if _float_apply_error(eigenvalues) < FLOAT_APPLY_ERROR:
            count.float32 += product_with_x
        else:
            count.float64 += product_with_x
    return count


def _norm(eigenvalues: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(eigenvalues))


def _float_apply_error(eigenvalues: NDArray[np.float64]) -> float:
    rounding = 0.29 * 2.0**-23
    spread = float(eigenvalues.sum() * (1 / eigenvalues).sum())
    return rounding * sqrt(spread / (2 * len(eigenvalues)))


def _inverse_root(
    condition: float, hand_over: float, *, inverted: bool
) -> tuple[int, int, float, bool]:
    """Inverses, products, the condition left (1: none), and whether there is a factor yet."""
    inverses = products = 0
    factored = False
    while not condition < hand_over:
        square = condition**2
        degree = series_degree((square - 1) / (square + 1))
        if degree:
            return inverses, products + SERIES_PRODUCTS[degree] + factored, 1.0, True
        inverses += not inverted
        products += factored
        inverted, factored = False, True
        condition = (sqrt(condition) + 1 / sqrt(condition)) / 2
    return inverses, products, condition, factored


def series_degree(radius: float) -> int:
    """The degree that (1 - e)^(-1/2) takes on |e| <= radius; 0 where Newton is taken instead."""
    if radius >= 0.5:
        return 0
    for degree in SERIES_PRODUCTS:
        if _series_error(degree, max(radius, 1e-7)) <= TOLERANCE:
            return degree
    return 0


def _series_error(degree: int, radius: float) -> float:
    nodes = np.array([radius * cos(pi * (2 * i + 1) / (2 * degree + 2)) for i in range(degree + 1)])
    fitted = polynomial.polyfit(nodes / radius, 1 / np.sqrt(1 - nodes), degree)
    error = abs(float(polynomial.polyval(1.0, fitted)) - 1 / sqrt(1 - radius))
    return error * sqrt(1 + radius) if radius < 1 else inf
