"""How far each method is from the truth, against the condition number: tables of docs/ops/polar.md.

    python -m bench.accuracy

Errors are ||O - O_ref||_F / ||O_ref||_F against the float64 reference for the same rounded input:
for exact methods the polar factor, for polynomials the same polynomial. The worst of three shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ortho_kernels as ok
from ortho_kernels.options import polar_options
from ortho_kernels.reference import polar as reference
from ortho_kernels.reference import spectra

SHAPES = ((16, 144), (64, 576), (96, 96))
CONDITIONS = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
FAR_CONDITIONS = (1e0, 1e2, 1e4, 1e6, 1e8, 1e10)


# A factor 4 below the smallest singular value planted in float32, so that all are kept. The default
# is only a factor 2 below it, where a singular value may go either way.
RTOL = 2.0**-22


def worst(
    condition: float,
    dtype: torch.dtype,
    factor: Callable[[Tensor], Tensor],
    truth: Callable[[np.ndarray], np.ndarray],
) -> float:
    rng = np.random.default_rng(0)
    errors = []
    for m, n in SHAPES:
        sigma = spectra.geometric(min(m, n), condition)
        x = torch.from_numpy(spectra.with_singular_values(rng, m, n, sigma)).to(dtype)
        wanted = truth(x.double().numpy())
        difference = np.linalg.norm(factor(x).double().numpy() - wanted)
        errors.append(difference / np.linalg.norm(wanted))
    return float(max(errors))


def row(
    name: str, conditions: Iterable[float], dtype: torch.dtype, method: str, **options: Any
) -> str:
    def factor(x: Tensor) -> Tensor:
        return ok.polar(x, method, **options)

    def truth(x: np.ndarray) -> np.ndarray:
        if method in ("exact", "svd"):
            return reference.polar(x, rtol=0.0)
        return reference.polynomial(x, polar_options("polar", method, **options).coefficients)

    cells = (f"{worst(condition, dtype, factor, truth):.0e}" for condition in conditions)
    return f"| {name} | {' | '.join(cells)} |"


def header(conditions: tuple[float, ...]) -> str:
    titles = " | ".join(f"{condition:.0e}" for condition in conditions)
    return f"\n| condition number | {titles} |\n|---|{'---|' * len(conditions)}"


def main() -> None:
    facts = ok.build_info()
    print(f"native: {facts['native']}, isa: {facts['isa']}, torch {facts['torch']}")
    print(header(CONDITIONS))
    for method in ("exact", "svd"):
        print(row(f"`{method}`, float32", CONDITIONS, torch.float32, method, rtol=RTOL))
    for method in ("polar_express", "newton_schulz"):
        for precision in ("float32", "float16", "bfloat16"):
            name = f"`{method}`, {precision}"
            print(row(name, CONDITIONS, torch.float32, method, precision=precision))
    print(header(FAR_CONDITIONS))
    for method in ("exact", "svd"):
        print(row(f"`{method}`, float64", FAR_CONDITIONS, torch.float64, method))


if __name__ == "__main__":
    main()
