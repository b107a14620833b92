"""What an answer is held against: one float64 SVD of a gradient, from which every truth follows.

A method of this field maps the singular values and leaves the singular vectors, so each truth is
U f(S) V^T: f = 1 for the polar factor, a polynomial for a Newton-Schulz iteration. One SVD serves
them all, where the reference would run each polynomial anew; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.float64]
SpectralMap = Callable[[Matrix], Matrix]

RTOL = 4 * 2.0**-23  # the rank rule's default for float32: what lies below is dropped
EITHER_WAY = 2.0  # within this factor of it a singular value may be kept or dropped


class Truth:
    """The truths for one float32 gradient, read as a matrix and on its small side."""

    def __init__(self, gradient: Tensor) -> None:
        matrix = as_matrix(gradient)
        self.shape = matrix.shape
        self._u, self.sigma, self._vt = np.linalg.svd(self._wide(matrix), full_matrices=False)
        threshold = RTOL * self.sigma[0]
        dropped = self.sigma[self.sigma <= threshold / EITHER_WAY]
        # All that is dropped lies far below the threshold, as an exact null direction does.
        self.clear_cut = bool(len(dropped) == 0 or dropped[0] <= threshold / 10)
        self._kept = self._u[:, self.sigma > threshold * EITHER_WAY]
        self._null = self._u[:, self.sigma <= threshold / EITHER_WAY]

    @property
    def rank(self) -> int:
        """Singular values that every exact method keeps."""
        return int(self._kept.shape[1])

    @property
    def condition(self) -> float:
        """Of the kept range."""
        return float(self.sigma[0] / self.sigma[self.rank - 1]) if self.rank else 1.0

    @property
    def full_condition(self) -> float:
        """Of everything: what a method sees that drops nothing."""
        least = float(self.sigma[-1])
        return float(self.sigma[0]) / least if least else float("inf")

    def error(self, answer: Any) -> float:
        """Relative distance from the polar factor, on the kept range."""
        factor = self._kept.T @ self._wide(as_matrix(answer)) - self._vt[: self.rank]
        return float(np.linalg.norm(factor) / max(1, self.rank) ** 0.5)

    def leak(self, answer: Any) -> float:
        """The length of the longest null direction's row: 0 truncated, 1 completed."""
        if not self._null.size:
            return 0.0
        return float(np.linalg.norm(self._null.T @ self._wide(as_matrix(answer)), axis=1).max())

    def distance(self, answer: Any, spectral_map: SpectralMap) -> float:
        """Relative distance from U f(S) V^T."""
        wanted = (self._u * spectral_map(self.sigma)) @ self._vt
        difference = np.linalg.norm(self._wide(as_matrix(answer)) - wanted)
        return float(difference / max(float(np.linalg.norm(wanted)), 1e-300))

    def _wide(self, matrix: Matrix) -> Matrix:
        if matrix.shape != self.shape:
            raise ValueError(f"bench: an answer must have shape {self.shape}, got {matrix.shape}")
        return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def as_matrix(array: Any) -> Matrix:
    """Float64, flattened from dimension 1, whoever made it."""
    if isinstance(array, Tensor):
        array = array.detach().double().numpy()
    matrix = np.asarray(array, np.float64)
    return matrix.reshape(matrix.shape[0], -1)


def polynomial(table: Sequence[Sequence[float]]) -> SpectralMap:
    """x / ||x||_F, then x <- a x + b x^3 + c x^5 for each triple."""

    def apply(sigma: Matrix) -> Matrix:
        x = sigma / max(float(np.linalg.norm(sigma)), 1e-300)
        for a, b, c in table:
            x = a * x + b * x**3 + c * x**5
        return x

    return apply


def ridged(ridge: float) -> SpectralMap:
    """(X X^T + ridge sigma_1^2 I)^(-1/2) X: small singular values end below 1."""

    def apply(sigma: Matrix) -> Matrix:
        relative = sigma / max(float(sigma[0]), 1e-300)
        answer: Matrix = relative / np.sqrt(relative**2 + ridge)
        return answer

    return apply
