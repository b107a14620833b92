"""Who takes part in a comparison: a way to orthogonalise gradients, and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from bench.truth import SpectralMap, Truth

EPS = 2.0**-23  # float32
EASY = 1e2 * (1 + 1e-3)  # condition numbers, with room for the rounding of planted spectra
HARD = 1e4 * (1 + 1e-2)


@dataclass(frozen=True)
class Promise:
    """How near an answer must come to its own truth, by the condition number of the gradient.

    ``spectral_map`` is what the method computes where it is no exact factor; an exact one is held
    to the polar factor on the range that every exact method keeps. A method that promises to drop
    null directions (``leak``) is held to that as well, by whether there is a gap above them.
    """

    words: str
    bound: Callable[[float], float]
    spectral_map: SpectralMap | None = None
    leak: Callable[[bool], float] | None = None

    def broken(self, answer: Any, truth: Truth) -> str:
        """Empty where the promise is kept, otherwise what is wrong."""
        if self.spectral_map is None:
            error, bound = truth.error(answer), self.bound(truth.condition)
        else:
            error = truth.distance(answer, self.spectral_map)
            bound = self.bound(truth.full_condition)
        if not error <= bound:  # NaN is an error, too
            return f"error {error:.1e} > {bound:.1e} for {truth.shape[0]} x {truth.shape[1]}"
        if self.leak is not None and not truth.leak(answer) <= self.leak(truth.clear_cut):
            return f"leak {truth.leak(answer):.1e} for {truth.shape[0]} x {truth.shape[1]}"
        return ""


@dataclass(frozen=True)
class Piece:
    """One call, and which of the gradients it answers."""

    indices: tuple[int, ...]
    call: Callable[[], Iterable[Any]]


@dataclass(frozen=True)
class Contender:
    """``prepare`` moves the gradients to where the method wants them and compiles what it compiles,
    untimed, and gives the calls that orthogonalise each gradient once."""

    name: str
    promise: Promise
    prepare: Callable[[Sequence[Tensor]], list[Piece]]
    ours: bool = False
    # Floating-point operations for one m x n matrix, m <= n, where their number is fixed.
    operations: Callable[[int, int], float] | None = field(default=None, repr=False)


def run(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        piece.call()


def per_matrix(factor: Callable[[Tensor], Any]) -> Callable[[Sequence[Tensor]], list[Piece]]:
    """One matrix at a time."""

    def prepare(gradients: Sequence[Tensor]) -> list[Piece]:
        return [_single(i, factor, gradient.flatten(1)) for i, gradient in enumerate(gradients)]

    return prepare


def _single(index: int, factor: Callable[[Tensor], Any], matrix: Tensor) -> Piece:
    return Piece((index,), lambda: (factor(matrix),))


def polynomial_operations(steps: int) -> Callable[[int, int], float]:
    """Of the ordinary form in full products: X X^T, its square, and the product with X, a step."""
    return lambda m, n: steps * (4.0 * m * m * n + 2.0 * m**3)


# ---- What is promised ----------------------------------------------------------------------------

EXACT = Promise(
    "the polar factor to 1e-5 up to condition 1e4, to 1e-3 up to 1e6; null directions dropped",
    bound=lambda condition: 1e-5 if condition <= HARD else 1e-3,
    leak=lambda clear_cut: 3e-5 if clear_cut else 1e-3,
)
LAPACK = Promise(
    "the polar factor to float32 rounding, eps x condition number",
    bound=lambda condition: 1e-5 + EPS * condition,
)


def polynomial_promise(spectral_map: SpectralMap, precision: str = "float32") -> Promise:
    """The same polynomial in float64; its rounding grows where small singular values are lifted."""
    easy, beyond = {
        "float32": (1e-4, 1e-3),
        "float16": (3e-2, 0.3),
        "bfloat16": (1e-1, 0.6),
    }[precision]
    return Promise(
        f"its polynomial, in {precision}",
        bound=lambda condition: easy if condition <= EASY else beyond,
        spectral_map=spectral_map,
    )
