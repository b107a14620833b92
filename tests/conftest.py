"""What the tests share: the axis of devices and backends, the tolerances, fresh seeds.

Every tolerance is stated here once. They are promises of docs/ops/polar.md, or derived from the
rounding unit as eps x steps x sqrt(k), k the length of the sums; none is loosened for a machine.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from torch import Tensor

import ortho_kernels as ok
from ortho_kernels.backends import native
from ortho_kernels.options import NEWTON_RIDGE

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
EXACT = ("exact", "svd")
POLYNOMIALS = ("polar_express", "newton_schulz")
METHODS = (*EXACT, "newton", *POLYNOMIALS)

settings.register_profile(
    "ortho",
    deadline=None,
    max_examples=40,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a target has no state to reset
)
settings.load_profile("ortho")


# ---- Devices and backends ------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Where a test runs: every op through one backend, on one device."""

    backend: str
    device: str = "cpu"

    def serves(self, method: str) -> bool:
        return not (self.backend == "native" and method == "svd")

    def polynomial_form(self, shape: Sequence[int]) -> str:
        """In which form float32 runs, by the rule of docs/ops/polar.md."""
        small, large = sorted(shape[-2:])
        return "gram" if self.backend == "native" and 4 * large >= 5 * small else "ordinary"

    def polar(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        return ok.polar(x.to(self.device), *args, backend=self.backend, **options).cpu()

    def polar_foreach(self, tensors: Any, *args: Any, **options: Any) -> list[Tensor]:
        tensors = [x.to(self.device) for x in tensors]
        outs = ok.polar_foreach(tensors, *args, backend=self.backend, **options)
        return [out.cpu() for out in outs]

    def all_finite(self, tensors: Iterable[Tensor]) -> bool:
        on_device = [x.to(self.device) for x in tensors]
        return bool(ok.all_finite(on_device, backend=self.backend))

    def frobenius_norm(self, x: Tensor) -> Tensor:
        return ok.frobenius_norm(x.to(self.device), backend=self.backend).cpu()

    def sketch(self, tensors: Any, dim: int, *, seed: int) -> Tensor:
        tensors = [x.to(self.device) for x in tensors]
        return ok.sketch(tensors, dim, seed=seed, backend=self.backend).cpu()


needs_native = pytest.mark.skipif(native.module is None, reason=native.reason or "present")
NATIVE = pytest.param(Target("native"), marks=needs_native, id="native")
TARGETS = [pytest.param(Target("eager"), id="eager"), NATIVE]
if torch.cuda.is_available():
    TARGETS.append(pytest.param(Target("eager", "cuda"), id="eager-cuda"))


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    return request.param


@pytest.fixture(params=[NATIVE])
def kernels(request: pytest.FixtureRequest) -> Target:
    """For promises that hold bit by bit: our own kernels keep them, a LAPACK need not."""
    return request.param


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, and restores it."""
    before = ok.get_num_threads()
    yield ok.set_num_threads
    ok.set_num_threads(before)


# ---- Fresh randomness ----------------------------------------------------------------------------


@pytest.fixture
def rng() -> np.random.Generator:
    """A new seed each time, printed where a test fails; ORTHO_TEST_SEED=<seed> repeats it."""
    seed = int(os.environ.get("ORTHO_TEST_SEED", secrets.randbits(32)))
    print(f"ORTHO_TEST_SEED={seed} repeats this")
    return np.random.default_rng(seed)


# ---- Tolerances ----------------------------------------------------------------------------------


def rounding(dtype: torch.dtype, k: int, steps: int = 1) -> float:
    """Of `steps` operations in a row, each a sum of k products in `dtype`."""
    return torch.finfo(dtype).eps * steps * math.sqrt(max(k, 1))


def gram_rounding(dtype: torch.dtype, shape: torch.Size) -> float:
    """Of ||O O^T - I||_F on the small side: k x k entries, each a sum over the long side."""
    return rounding(dtype, max(shape[-2:])) * min(shape[-2:])


def half_ulp(dtype: torch.dtype) -> float:
    """What storing a result in `dtype` may cost, relative to it."""
    return torch.finfo(dtype).eps / 2


def exact_bound(dtype: torch.dtype, condition: float, method: str = "exact") -> float:
    """The promised relative error ||O - O_ref||_F / ||O_ref||_F of an exact factor."""
    if dtype == torch.float64:
        assert condition <= 1e4
        return 1e-9
    bound = 1e-5 if condition <= 1e4 else 1e-3
    if method == "svd":  # LAPACK is off by eps of sigma_1, which the smallest one sees magnified
        bound = 1e-5 + torch.finfo(torch.float32).eps * condition
    return bound if dtype == torch.float32 else bound + half_ulp(dtype)


def newton_bound(sigma: NDArray[np.float64], dtype: torch.dtype = torch.float32) -> float:
    """The relative error that float32 may make in (G + r I)^(-1/2) X, r = NEWTON_RIDGE ||G||.

    By singular value s <= 1, with q^2 = s^2 + r: the iteration stops at 3e-5; r falls short by a
    part of `newton_ridge_shortfall`, which moves s / q by r s / (2 q^3) times as much; the last
    product rounds numbers of size 1 / q. Rounding G turns its eigenvectors, too: an error e between
    the i-th and the j-th moves O by e s_j / (q_i q_j (q_i + q_j)), and e is eps, evenly spread.
    """
    s = sigma / sigma.max()
    m, r, eps = len(s), NEWTON_RIDGE, torch.finfo(torch.float32).eps
    q = np.sqrt(s**2 + r)
    turned = eps / math.sqrt(m) * s / (np.outer(q, q) * np.add.outer(q, q))
    error = np.linalg.norm(turned, axis=1) + rounding(torch.float32, m) / q
    error += 3e-5 + newton_ridge_shortfall(m) * r * s / (2 * q**3)
    stored = half_ulp(dtype) if dtype in (torch.float16, torch.bfloat16) else 0.0
    return float(np.linalg.norm(error) / np.linalg.norm(s / q)) + stored


def newton_ridge_shortfall(m: int) -> float:
    """How far below ||G|| eight products of a power iteration may end, as a part of it.

    At o^(1/8) from a start that overlaps by o with the top eigenvector, which a random one does by
    m^(-1/2), and by less than a millionth of that once in a million times.
    """
    return float(1 - (1e-6 / math.sqrt(m)) ** (1 / 8)) if m > 1 else 0.0


def polynomial_bound(
    precision: str, dtype: torch.dtype = torch.float32, form: str = "ordinary"
) -> float:
    """The promised relative error against the same polynomial in float64."""
    assert form in ("ordinary", "gram")
    bound = {"float32": 5e-5, "float16": 1e-2, "bfloat16": 1e-1}[precision]
    if form == "gram" and precision == "float32":
        bound = 1e-4
    return bound + (half_ulp(dtype) if dtype in (torch.float16, torch.bfloat16) else 0.0)


def window_bound(dtype: torch.dtype) -> float:
    """The promised error of window_step_'s eigenvalue (relative) and cosine, on the same rows."""
    return {torch.float32: 1e-9, torch.bfloat16: 1e-3}[dtype]
