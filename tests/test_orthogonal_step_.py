"""orthogonal_step_: the fused step equals its unfused composition."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import DTYPES, Target, rounding
from planted import as_array, gaussian
from step_cases import PLACEMENTS, RULES, SHAPES, Case, Rng, allowed, flat
from torch import Tensor

import ortho_kernels as ok
from ortho_kernels.options import polar_options
from ortho_kernels.reference import polar as factors
from ortho_kernels.reference.orthogonal_step_ import orthogonal_step_ as reference


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_the_reference(
    target: Target, dtype: torch.dtype, rule: str, placement: str
) -> None:
    scales = [0.5 + i for i in range(len(SHAPES))]
    for buffers, fresh in ((True, False), (True, True), (False, False)):
        case = Case(dtype)
        threshold = polar_options("polar", "exact").threshold(str(dtype).removeprefix("torch."))
        polar = flat(lambda x, rtol=threshold: factors.polar(x, rtol))
        options = RULES[rule] | {"placement": placement}
        wanted = [
            reference(
                as_array(w),
                as_array(g),
                as_array(v) if buffers else None,
                polar,
                scale=scale,
                fresh=fresh,
                **options,
            )
            for w, g, v, scale in zip(
                case.weights, case.gradients, case.momenta, scales, strict=True
            )
        ]
        if fresh:
            for v in case.momenta:
                v.fill_(torch.nan)
        case.step(target, buffers=buffers, fresh=fresh, scale=scales, **options)
        for (weight, buffer), w, v in zip(wanted, case.weights, case.momenta, strict=True):
            assert np.abs(as_array(w) - weight).max() <= allowed(dtype, placement)
            if buffer is not None:
                size = max(1.0, np.abs(buffer).max() / 4)
                assert np.abs(as_array(v) - buffer).max() <= size * allowed(dtype, placement)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_equals_polar_foreach_and_torch_sgd(
    kernels: Target, dtype: torch.dtype, momentum: float, nesterov: bool
) -> None:
    """To the bit where both have vectors with fused multiply-adds, else to their rounding."""
    case = Case(dtype)
    params = [w.clone().requires_grad_() for w in case.weights]
    optimizer = torch.optim.SGD(
        params, lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.01
    )
    for step in range(5):
        for p, factor in zip(params, ok.polar_foreach(case.gradients), strict=True):
            p.grad = factor
        optimizer.step()
        case.step(
            kernels,
            buffers=momentum != 0,
            fresh=step == 0,
            lr=0.1,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=0.01,
        )
        case.gradients = [g.roll(1, 0) for g in case.gradients]
    torchs = torch.backends.cpu.get_cpu_capability()
    same = ok.build_info()["isa"].startswith("avx") and torchs in ("AVX2", "AVX512")
    bound = 0.0 if same else 4 * rounding(dtype, 1, 5 * 4)
    for p, w in zip(params, case.weights, strict=True):
        assert (p - w).abs().max() <= bound


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_factor_has_the_bits_of_polar_foreach(
    kernels: Target, rng: Rng, placement: str
) -> None:
    """At w = 0, lr = 1 and scale -1 the step shows the factor itself: every dtype and method."""
    for dtype, method in itertools.product(DTYPES, ("exact", "newton", "newton_schulz")):
        gradients = [gaussian(rng, *shape, dtype=dtype) for shape in SHAPES]
        weights = [torch.zeros_like(g) for g in gradients]
        ok.orthogonal_step_(
            weights, gradients, None, method, lr=1.0, scale=-1.0, placement=placement,
            backend=kernels.backend,
        )  # fmt: skip
        for w, factor in zip(weights, ok.polar_foreach(gradients, method), strict=True):
            assert torch.equal(w, factor)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_views(target: Target, rng: Rng, placement: str) -> None:
    x = gaussian(rng, 6, 4, 5)
    views = ["flatten", "batch", ok.heads(3)]
    weights = [torch.zeros_like(x) for _ in views]
    ok.orthogonal_step_(
        weights, [x] * 3, lr=-1.0, placement=placement, view=views, backend=target.backend
    )
    for w, factor in zip(weights, target.polar_foreach([x] * 3, view=views), strict=True):
        assert (w - factor).abs().max() <= rounding(torch.float32, 1)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_layouts_do_not_matter(kernels: Target, placement: str) -> None:
    """Transposed, sliced and channels-last weights, gradients and buffers: the same bits."""
    shape = (8, 6, 3, 3)

    def last(x: Tensor) -> Tensor:
        return x.to(memory_format=torch.channels_last)

    def sliced(x: Tensor) -> Tensor:
        inside = torch.full((9, 12, 3, 5), torch.nan, dtype=x.dtype)
        inside[1:, ::2, :, 1:4] = x
        return inside[1:, ::2, :, 1:4]

    def turned(x: Tensor) -> Tensor:
        return x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)

    options = RULES["coupled"] | {"placement": placement}
    plain = Case(torch.float32, [shape])
    plain.step(kernels, **options)
    for ways in itertools.product((last, sliced, turned, torch.clone), repeat=3):
        case = Case(torch.float32, [shape])
        case.weights = [ways[0](case.weights[0])]
        case.gradients = [ways[1](case.gradients[0])]
        case.momenta = [ways[2](case.momenta[0])]
        case.step(kernels, **options)
        assert case.bits() == plain.bits()


def test_threads_do_not_matter(kernels: Target, threads: Callable[[int], None], rng: Rng) -> None:
    shapes = [(256, 700), *[(40, 60)] * 5]
    results = []
    for count in (1, 2, 3):
        threads(count)
        case = Case(torch.float32, shapes)
        case.step(kernels, **RULES["muon"], placement="update", method="newton_schulz")
        results.append(case.bits())
    assert results[0] == results[1] == results[2]
