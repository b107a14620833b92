"""Sequences of gradients for the window, and the printed algorithm beside the op."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import ortho_kernels as ok
from ortho_kernels.reference.window_step_ import printed_step_

Array = NDArray[np.float64]

# Rows and numbers: one of each, fewer rows than numbers and more, across a block of columns.
SIZES = [(1, 1), (1, 40), (9, 2), (20, 50), (60, 10), (30, 400), (4, 8200)]


def gradients(rng: np.random.Generator, numbers: int, steps: int) -> Iterator[Array]:
    """Uneven directions that grow and shrink by e^40, with zeros and repetitions."""
    spread = np.geomspace(1.0, 4.0, numbers)
    last: list[Array] = [np.zeros(numbers)]
    for i in range(steps):
        if i % 17 == 5:
            last.append(np.zeros(numbers))
        elif i % 7 == 3:
            last.append(last[-1 - i % min(len(last), 4)])
        else:
            size = np.exp(20 * np.sin(i / 150))
            last.append(size * spread * rng.standard_normal(numbers))
        yield last[-1]
        last = last[-4:]


def rounded(gradient: Array, dtype: torch.dtype) -> Array:
    return torch.from_numpy(gradient).to(dtype).to(torch.float64).numpy()


@dataclass
class Window:
    """The op's three arrays, and where it is in them."""

    rows: int
    numbers: int
    dtype: torch.dtype = torch.float32
    steps: int = 0
    window: Tensor = field(init=False)
    gram: Tensor = field(init=False)
    coefficients: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # What is not filled is not read.
        self.window = torch.full((self.rows, self.numbers), torch.nan, dtype=self.dtype)
        self.gram = torch.zeros(self.rows, self.rows, dtype=torch.float64)
        self.coefficients = torch.zeros(self.rows, dtype=torch.float64)

    @property
    def arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.window, self.gram, self.coefficients

    @property
    def place(self) -> tuple[int, int]:
        """slot and filled of the next step."""
        return self.steps % self.rows, min(self.steps + 1, self.rows)

    def step(
        self, given: Sequence[Tensor], sigma: float = 1.0, backend: str | None = None
    ) -> tuple[float, float]:
        out = ok.window_step_(*self.arrays, given, *self.place, sigma=sigma, backend=backend)
        self.steps += 1
        eigenvalue, cosine = out.tolist()
        return eigenvalue, cosine

    def vector(self) -> Tensor:
        filled = min(self.steps, self.rows)
        return self.coefficients[:filled] @ self.window[:filled].to(torch.float64)


class Printed:
    """Algorithm 5 as printed, in float64."""

    def __init__(self, rows: int, numbers: int) -> None:
        self.window, self.vector = np.zeros((rows, numbers)), np.zeros(numbers)
        self.steps = 0

    def step(self, gradient: Array, sigma: float = 1.0) -> tuple[float, float]:
        rows = len(self.window)
        place = self.steps % rows, min(self.steps + 1, rows)
        self.steps += 1
        return printed_step_(self.window, self.vector, gradient, *place, sigma)
