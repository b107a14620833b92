"""sketch: linear, the same bits everywhere, and as close as it says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, Target
from planted import as_array, bits, gaussian
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import ortho_kernels as ok
from ortho_kernels.backends.eager.sketch import _words as eager_words
from ortho_kernels.reference import sketch as reference

Rng = np.random.Generator
OP = torch.ops.ortho_kernels.sketch.default
SEEDS = 100
SIGMAS = 5.0  # a false alarm in two million


def model(rng: Rng) -> list[Tensor]:
    """Every dtype, awkward shapes and strides; more than two blocks of the sums."""
    wide = gaussian(rng, 300, 500)
    return [
        gaussian(rng, 16, 3, 3, 3, dtype=torch.bfloat16),
        gaussian(rng),
        gaussian(rng, 7, dtype=torch.float64),
        torch.zeros(0, 3),
        wide[::2, 1::3],
        wide,
        gaussian(rng, 33, 5, dtype=torch.float16).T,
        gaussian(rng, 4, 6, 5, 5).to(memory_format=torch.channels_last),
        gaussian(rng, 3, 1).expand(3, 50),
        gaussian(rng, 20)[::2],
    ]


# ---- What it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 7, 1000, 2**14])
@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1])
def test_has_the_bits_of_the_reference(target: Target, rng: Rng, dim: int, seed: int) -> None:
    tensors = model(rng)
    got = target.sketch(tensors, dim, seed=seed)
    assert got.dtype == torch.float32
    wanted = reference.sketch([as_array(x) for x in tensors], dim, seed)
    assert bits(got) == wanted.tobytes()


def test_threads_do_not_matter(kernels: Target, threads: Callable[[int], None], rng: Rng) -> None:
    tensors = [gaussian(rng, 1000, 400), *model(rng)]
    results = set()
    for count in (1, 2, 3, 5):
        threads(count)
        results.add(bits(kernels.sketch(tensors, 100, seed=3)))
    assert len(results) == 1


def test_cuts_and_strides_do_not_matter(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 400, 400)
    turned = x.T.contiguous().T
    pieces = [x[:13], x[13:14, :5], x[13:14, 5:], x[14:]]
    assert len({bits(target.sketch(t, 50, seed=9)) for t in ([x], [turned], pieces)}) == 1


def test_is_linear(target: Target, rng: Rng) -> None:
    """On integers, which no sum here rounds."""
    x, y = (torch.from_numpy(rng.integers(-9, 10, 90_000)).float() for _ in range(2))
    a, b, both = (target.sketch([t], 64, seed=1) for t in (x, y, 3 * x - y))
    assert torch.equal(both, 3 * a - b)


def test_every_index_has_its_own_place(target: Target) -> None:
    """One bucket a number, all buckets and both signs in use; the next seed places anew."""
    dim, n = 16, 1000
    ones = [torch.eye(n)[i] for i in range(n)]
    sketches = torch.stack([target.sketch([one], dim, seed=2) for one in ones])
    assert sketches.abs().sum(1).eq(1).all()
    loads, sums = sketches.abs().sum(0), sketches.sum(0)
    allowed = SIGMAS * math.sqrt(n / dim)
    assert (loads - n / dim).abs().max() <= allowed
    assert sums.abs().max() <= allowed
    again = torch.stack([target.sketch([one], dim, seed=3) for one in ones])
    assert 1 - float((sketches == again).all(1).float().mean()) > 0.9


def test_the_hash_is_the_one_of_the_docs() -> None:
    """Numbers that docs/ops/sketch.md prints; the third is beyond the first 2^32 elements."""
    table = {(0, 0): 0xF8BF0824, (1, 12345): 0x1FC12C17, (7, 3 * 2**32 + 5): 0x40B1C348}
    for (seed, index), word in table.items():
        assert int(reference.words(seed, index, index + 1)[0]) == word
        assert int(eager_words(seed, index, 1, torch.device("cpu"))[0]) == word


# ---- How close it is -----------------------------------------------------------------------------


def vectors(rng: Rng, n: int) -> dict[str, tuple[Tensor, Tensor]]:
    x, noise = gaussian(rng, n), gaussian(rng, n)
    ramp = torch.arange(n, dtype=torch.float32) / n
    return {
        "independent": (x, noise),
        "alike": (x, x + 0.3 * noise),
        "itself": (x, x),
        "ones": (torch.ones(n), torch.ones(n)),
        "every other": (torch.ones(n), (torch.arange(n) % 2).float()),
        "ramps": (ramp, 1 - ramp),
    }


@pytest.mark.parametrize("dim", [64, 1000])
@pytest.mark.parametrize("name", vectors(np.random.default_rng(0), 1))
def test_inner_products_deviate_as_stated(target: Target, rng: Rng, name: str, dim: int) -> None:
    """Mean zero and sqrt((1 + cos^2) / d) |x| |y|, over a hundred seeds."""
    x, y = vectors(rng, 5000)[name]
    exact = float(x.double() @ y.double())
    norms = float(x.double().norm() * y.double().norm())
    sigma = math.sqrt((1 + (exact / norms) ** 2) / dim) * norms
    products = []
    for seed in range(SEEDS):
        p, q = (target.sketch([one], dim, seed=seed).double() for one in (x, y))
        products.append(float(p @ q))
    errors = np.array(products) - exact
    assert abs(errors.mean()) <= SIGMAS * sigma / math.sqrt(SEEDS)
    spread = math.sqrt(float((errors**2).mean())) / sigma
    assert abs(spread - 1) <= SIGMAS / math.sqrt(2 * SEEDS)


@pytest.mark.parametrize("dim", [64, 1000])
def test_norms_deviate_as_stated(target: Target, rng: Rng, dim: int) -> None:
    x = gaussian(rng, 5000)
    norms = [float(target.sketch([x], dim, seed=s).double().norm()) for s in range(SEEDS)]
    errors = np.array(norms) / float(x.double().norm()) - 1
    sigma = 1 / math.sqrt(2 * dim)
    bias = 1 / (4 * dim)  # of a square root whose square has none: E sqrt(1 + e) - 1 = -E e^2 / 8
    assert abs(errors.mean() + bias) <= SIGMAS * sigma / math.sqrt(SEEDS)
    assert abs(errors.std() / sigma - 1) <= SIGMAS / math.sqrt(2 * SEEDS)


# ---- Contracts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inputs_are_not_written(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    x = gaussian(rng, 40, 50, dtype=dtype)
    before = bits(x)
    target.sketch([x, x.T], 8, seed=0)
    assert bits(x) == before


def test_empty(target: Target) -> None:
    assert torch.equal(target.sketch([], 3, seed=0), torch.zeros(3))
    assert torch.equal(target.sketch([torch.ones(0), torch.ones(2, 0)], 3, seed=0), torch.zeros(3))


def test_what_is_not_finite_spoils_its_bucket(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 500)
    clean = target.sketch([x], 64, seed=0)
    for poison in (math.nan, math.inf):
        bad = x.clone()
        bad[77] = poison
        got = target.sketch([bad], 64, seed=0)
        assert int((~got.isfinite()).sum()) == 1
        assert int((got == clean).sum()) == 63


@pytest.mark.parametrize(
    ("tensors", "dim", "options", "error", "words"),
    [
        ([torch.ones(2)], 0, {}, ValueError, "dim must be from 1 to 16777216, got 0"),
        ([torch.ones(2)], 2**24 + 1, {}, ValueError, "dim must be from 1 to 16777216, got "
         "16777217"),
        ([torch.ones(2, dtype=torch.int32)], 3, {}, TypeError, "tensors[0] must be float16, "
         "bfloat16, float32 or float64, got int32"),
        ([torch.ones(2), torch.ones(2, dtype=torch.complex64)], 3, {}, TypeError, "tensors[1] must "
         "be float16, bfloat16, float32 or float64, got complex64"),
        ([torch.ones(2), 1.0], 3, {}, TypeError, "tensors[1] must be a torch.Tensor, got float"),
        ([torch.ones(2), torch.ones(2, device="meta")], 3, {}, ValueError, "tensors[1] must be on "
         "cpu like tensors[0], got meta"),
        ([torch.ones(2)], 3, {"backend": "gpu"}, ValueError, "backend must be None, 'native' or "
         "'eager', got 'gpu'"),
        ([torch.ones(2, requires_grad=True)], 3, {}, RuntimeError, "tensors[0] must not meet "
         "automatic differentiation, got a tensor that requires grad; use torch.no_grad()"),
    ],
)  # fmt: skip
def test_bad_calls(
    target: Target, tensors: Any, dim: int, options: Any, error: type[Exception], words: str
) -> None:
    options = {"backend": target.backend} | options
    with pytest.raises(error, match=re.escape(f"sketch: {words}")):
        ok.sketch(tensors, dim, seed=0, **options)


def test_negated_views_are_read_as_what_they_show(target: Target) -> None:
    x = torch.complex(torch.ones(5), torch.arange(5.0)).conj().imag
    assert x.is_neg()
    wanted = target.sketch([x.resolve_neg()], 4, seed=0)
    assert torch.equal(target.sketch([x], 4, seed=0), wanted)


def test_parameters_without_grad_mode(target: Target) -> None:
    weight = torch.nn.Parameter(torch.ones(5))
    with torch.no_grad():
        got = target.sketch([weight], 4, seed=0)
    assert torch.equal(got, target.sketch([weight.detach()], 4, seed=0))


def test_is_a_torch_op(target: Target, rng: Rng) -> None:
    tensors = [gaussian(rng, 5, 7), gaussian(rng, 3, dtype=torch.bfloat16)]
    torch.library.opcheck(OP, (tensors, 16, 5), {"backend": target.backend})

    def run(xs: list[Tensor]) -> Tensor:
        return ok.sketch(xs, 16, seed=5, backend=target.backend)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(tensors), run(tensors))
    with FakeTensorMode() as mode:
        fake = ok.sketch([mode.from_tensor(x) for x in tensors], 16, seed=5)
    assert (fake.shape, fake.dtype) == ((16,), torch.float32)
    assert ok.sketch([torch.ones(5, device="meta")], 4, seed=0).is_meta
