"""How far each method is from the truth, against the condition number: tables of docs/ops/polar.md.

    python -m bench.accuracy

Errors are ||O - O_ref||_F / ||O_ref||_F, for O_ref from the float64 reference and the same rounded
input, the worst of three shapes. The first two tables say how well a method computes what it means
to (the factor, the same polynomial, newton's formula), the last one how close that is to U V^T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ortho_kernels as ok
from ortho_kernels.options import NEWTON_RIDGE, polar_options
from ortho_kernels.reference import polar as reference
from ortho_kernels.reference import spectra

SHAPES = ((16, 144), (64, 576), (96, 96))
# Which form a polynomial takes in float32 follows the shape.
FORMS = {"ordinary": ((16, 19), (64, 72), (96, 96)), "Gram": ((16, 144), (64, 576), (96, 120))}
CONDITIONS = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
FAR_CONDITIONS = (1e0, 1e2, 1e4, 1e5, 1e6, 1e8, 1e10)

Truth = Callable[[np.ndarray], np.ndarray]


# A factor 4 below the smallest singular value planted in float32, so that all are kept. The default
# is only a factor 2 below it, where a singular value may go either way.
RTOL = 2.0**-22


def worst(
    condition: float,
    dtype: torch.dtype,
    factor: Callable[[Tensor], Tensor],
    truth: Truth,
    shapes: Iterable[tuple[int, int]],
) -> float:
    rng = np.random.default_rng(0)
    errors = []
    for m, n in shapes:
        sigma = spectra.geometric(min(m, n), condition)
        x = torch.from_numpy(spectra.with_singular_values(rng, m, n, sigma)).to(dtype)
        wanted = truth(x.double().numpy())
        difference = np.linalg.norm(factor(x).double().numpy() - wanted)
        errors.append(difference / np.linalg.norm(wanted))
    return float(max(errors))


def factor_truth(x: np.ndarray) -> np.ndarray:
    return reference.polar(x, rtol=0.0)


def own_truth(method: str, options: dict[str, Any]) -> Truth:
    """What the method means to compute."""
    if method in ("exact", "svd"):
        return factor_truth
    if method == "newton":
        return lambda x: reference.newton(x, NEWTON_RIDGE)
    table = polar_options("polar", method, **options).coefficients
    return lambda x: reference.polynomial(x, table)


def row(
    name: str,
    conditions: Iterable[float],
    method: str,
    *,
    dtype: torch.dtype = torch.float32,
    shapes: Iterable[tuple[int, int]] = SHAPES,
    truth: Truth | None = None,
    **options: Any,
) -> str:
    def factor(x: Tensor) -> Tensor:
        return ok.polar(x, method, **options)

    wanted = truth or own_truth(method, options)
    cells = (f"{worst(condition, dtype, factor, wanted, shapes):.0e}" for condition in conditions)
    return f"| {name} | {' | '.join(cells)} |"


def header(conditions: tuple[float, ...]) -> str:
    titles = " | ".join(f"1e{np.log10(condition):.0f}" for condition in conditions)
    return f"\n| condition number | {titles} |\n|---|{'---|' * len(conditions)}"


def main() -> None:
    facts = ok.build_info()
    print(f"native: {facts['native']}, isa: {facts['isa']}, torch {facts['torch']}")
    print(header(CONDITIONS))
    for method in ("exact", "svd"):
        print(row(f"`{method}`, float32", CONDITIONS, method, rtol=RTOL))
    print(row("`newton`, float32", CONDITIONS, "newton"))
    for method in ("polar_express", "newton_schulz"):
        for form, shapes in FORMS.items():
            print(row(f"`{method}`, float32, {form} form", CONDITIONS, method, shapes=shapes))
        for precision in ("float16", "bfloat16"):
            print(row(f"`{method}`, {precision}", CONDITIONS, method, precision=precision))
    print(header(FAR_CONDITIONS))
    for method in ("exact", "svd"):
        print(row(f"`{method}`, float64", FAR_CONDITIONS, method, dtype=torch.float64))
    print(header(CONDITIONS))
    print(row("`exact`", CONDITIONS, "exact", truth=factor_truth, rtol=RTOL))
    print(row("`newton`", CONDITIONS, "newton", truth=factor_truth))
    for method, steps in (("polar_express", 8), ("polar_express", 5), ("newton_schulz", 5)):
        name = f"`{method}`, {steps} steps"
        print(row(name, CONDITIONS, method, truth=factor_truth, steps=steps))


if __name__ == "__main__":
    main()
