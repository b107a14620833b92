"""What a gradient becomes besides its polar factor: normalised, scaled, read through a view."""

from __future__ import annotations

import math

import numpy as np
import optim_cases as cases
import pytest
import torch
from conftest import exact_bound, rounding
from torch import Tensor, nn

import ortho_kernels as ok
from ortho_optim import SCALES, OrthogonalSGD, transposed

F64 = torch.float64
POLAR = 1e-9  # what an exact factor of condition 4 may be off by, in float64


def replaced(grad: Tensor, **options: object) -> Tensor:
    """What SGD at rate 1 steps on."""
    p = nn.Parameter(torch.zeros_like(grad))
    p.grad = grad.clone()
    OrthogonalSGD([p], lr=1.0, **options).step()
    assert torch.equal(p.grad, grad)
    return -p.detach()


def by_hand(grad: Tensor, view: str, make) -> Tensor:
    """The view's matrices one by one, each through `make`, on arrays of its own."""
    x = grad.double().numpy()
    if view == "flatten":
        parts = [make(x.reshape(x.shape[0], -1))]
        return torch.from_numpy(parts[0].reshape(x.shape))
    if view == "batch":
        stack = x.reshape(-1, *x.shape[-2:])
        return torch.from_numpy(np.stack([make(one) for one in stack]).reshape(x.shape))
    if view == "heads":
        blocks = [make(one.reshape(one.shape[0], -1)) for one in np.split(x, 2)]
        return torch.from_numpy(np.concatenate(blocks).reshape(x.shape))
    if view == "transposed":  # rows are output channels, which are the second dimension
        out = []
        for one in np.split(x, 2):
            rows = np.stack([one[:, j].reshape(-1) for j in range(one.shape[1])])
            made = make(rows)
            back = [made[j].reshape(one.shape[0], *one.shape[2:]) for j in range(one.shape[1])]
            out.append(np.stack(back, axis=1))
        return torch.from_numpy(np.concatenate(out))
    assert view == "callable"  # what it leaves out stays as it is
    x = x.copy()
    for one in x[:2, :, 0]:
        one[:] = make(one)
    return torch.from_numpy(x)


VIEWS = {
    "flatten": "flatten",
    "batch": "batch",
    "heads": ok.heads(2),
    "transposed": transposed(2),
    "callable": lambda g: g[:2, :, 0],
}
SHAPE = (4, 3, 2, 5)
every_view = pytest.mark.parametrize("view", VIEWS)


def unit(x: np.ndarray, by_row: bool) -> np.ndarray:
    norm = np.sqrt((x**2).sum(axis=1 if by_row else None, keepdims=True))
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


# ---- normalize= ----------------------------------------------------------------------------------


@every_view
@pytest.mark.parametrize("normalize", ["tensor", "row"])
@pytest.mark.parametrize("dtype", [F64, torch.float32, torch.bfloat16, torch.float16])
def test_normalized_is_its_formula_and_zeros_stay_zero(view, normalize, dtype, rng):
    grad = torch.from_numpy(rng.standard_normal(SHAPE)).to(dtype)
    grad[1] = 0  # a zero row, flattened or in a head
    grad[2:, 1] = 0  # one of a transposed convolution's
    want = by_hand(grad, view, lambda x: unit(x, normalize == "row"))
    got = replaced(grad, normalize=normalize, view=VIEWS[view])
    # A sum of 60 squares, its root, and two quotients; narrow types compute in float32.
    wide = dtype if dtype in (F64, torch.float32) else torch.float32
    relative = rounding(wide, 60, 4) + torch.finfo(dtype).eps
    tiny = torch.finfo(dtype).smallest_normal
    assert got.dtype == dtype
    assert torch.all((got.double() - want).abs() <= relative * want.abs() + tiny)
    assert torch.equal(got == 0, want == 0)


@every_view
@pytest.mark.parametrize("normalize", ["tensor", "row"])
def test_zero_gradients_move_nothing_when_normalized(view, normalize):
    p = nn.Parameter(torch.randn(SHAPE))
    before = p.detach().clone()
    p.grad = torch.zeros_like(p)
    OrthogonalSGD([p], lr=1.0, normalize=normalize, view=VIEWS[view]).step()
    assert torch.equal(p.detach(), before)


@pytest.mark.parametrize("normalize", ["tensor", "row"])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (F64, 2.0**-1000),
        (F64, 2.0**1000),
        (torch.float32, 2.0**-100),
        (torch.float32, 2.0**120),
        (torch.bfloat16, 2.0**120),
        (torch.float16, 2.0**14),
    ],
)
def test_no_square_over_or_underflows(normalize, dtype, scale):
    """A power of two changes no bit: these leave the range of the type when squared."""
    grad = cases.planted((6, 10), 3).to(dtype)
    one = replaced(grad, normalize=normalize)
    assert torch.equal(replaced(grad * scale, normalize=normalize), one)
    assert float(one.double().norm()) == pytest.approx(
        1 if normalize == "tensor" else math.sqrt(6), rel=2 * torch.finfo(dtype).eps
    )


@every_view
@pytest.mark.parametrize("normalize", ["tensor", "row"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_normalized_gradients_that_are_not_finite_go_by_the_policy(view, normalize, value):
    def step(policy):
        params = [nn.Parameter(torch.ones(SHAPE)) for _ in range(2)]
        options = {"normalize": normalize, "view": VIEWS[view], "nonfinite": policy}
        optimizer = OrthogonalSGD(params, lr=1.0, weight_decay=0.5, **options)
        for i, p in enumerate(params):
            p.grad = cases.planted(SHAPE, i, torch.float32).clone()
        params[0].grad[3, 1, 0, 2] = value
        optimizer.step()
        return [p.detach() for p in params], optimizer

    with pytest.raises(RuntimeError, match=r"in those of param_groups\[0\]\[0\] "):
        step("raise")
    skipped, optimizer = step("skip")
    zeroed, _ = step("zero")
    assert optimizer.skipped.total() == 1
    assert torch.equal(skipped[0], torch.ones(SHAPE))
    assert torch.equal(zeroed[0], torch.full(SHAPE, 0.5))  # the decay goes on
    assert torch.equal(skipped[1], zeroed[1])
    assert torch.isfinite(skipped[1]).all()
    assert not torch.equal(skipped[1], torch.ones(SHAPE))


@every_view
@pytest.mark.parametrize("options", [{}, {"normalize": "tensor"}, {"normalize": "row"}])
@pytest.mark.parametrize("way", cases.WAYS)
def test_any_memory_order_gives_the_same_values(view, options, way):
    """Fused steps read a gradient by its parameter's strides."""

    def step(memory_format):
        p = nn.Parameter(torch.zeros(SHAPE).to(memory_format=memory_format))
        p.grad = cases.planted(SHAPE, 5, torch.float32).to(memory_format=memory_format)
        OrthogonalSGD([p], lr=1.0, view=VIEWS[view], **options, **cases.WAYS[way]).step()
        return p.detach()

    last, plain = step(torch.channels_last), step(torch.contiguous_format)
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, plain, rtol=0, atol=exact_bound(torch.float32, 10))


# ---- scale= --------------------------------------------------------------------------------------

# Rows and columns of the matrices that a view reads in SHAPE.
SIDES = {
    "flatten": (4, 30),
    "batch": (2, 5),
    "heads": (2, 30),
    "transposed": (3, 20),
    "callable": (3, 5),
}
FORMULAS = {
    "none": lambda m, n: 1.0,
    "muon": lambda m, n: max(1.0, m / n) ** 0.5,
    "match_rms_adamw": lambda m, n: 0.2 * max(m, n) ** 0.5,
    "spectral": lambda m, n: (m / n) ** 0.5,
}


def test_every_rule_is_its_formula():
    assert SCALES.keys() == FORMULAS.keys()
    for name, rule in SCALES.items():
        for m, n in ((1, 1), (7, 3), (3, 7), (64, 576), (50257, 768)):
            assert rule(m, n) == pytest.approx(FORMULAS[name](m, n), rel=1e-15)


@every_view
@pytest.mark.parametrize("normalize", [None, "tensor"])
@pytest.mark.parametrize("rule", [*FORMULAS, 2.5, lambda m, n: 10.0 * m + n])
def test_factors_are_multiplied_by_the_rule_of_their_own_sides(view, normalize, rule):
    m, n = SIDES[view]
    formula = FORMULAS.get(rule) if isinstance(rule, str) else rule
    want = formula(m, n) if callable(formula) else formula
    grad = torch.from_numpy(np.random.default_rng(1).standard_normal(SHAPE))
    options = {"view": VIEWS[view]} | ({"normalize": normalize} if normalize else {})
    plain, scaled = replaced(grad, **options), replaced(grad, **options, scale=rule)
    if view == "callable":
        left = torch.ones(SHAPE, dtype=torch.bool)
        left[:2, :, 0] = False
        assert torch.equal(scaled[left], grad[left])  # what the view leaves out is left alone
        plain, scaled = plain[~left], scaled[~left]
    torch.testing.assert_close(scaled, want * plain, rtol=1e-15, atol=0)


@pytest.mark.parametrize("sides", [(12, 3), (3, 12), (6, 6)])
def test_match_rms_adamw_gives_entries_a_root_mean_square_of_a_fifth(sides):
    step = replaced(cases.planted(sides, 1), scale="match_rms_adamw")
    assert float(step.square().mean().sqrt()) == pytest.approx(0.2, rel=POLAR)


def test_empty_matrices_have_no_scale():
    for view in ("flatten", "batch", lambda g: g[:, :0]):
        for shape in ((0, 4), (4, 0)):
            assert replaced(torch.zeros(shape), scale="spectral", view=view).shape == shape


# ---- views ---------------------------------------------------------------------------------------


@every_view
def test_the_factor_is_that_of_the_matrices_a_view_reads(view):
    grad = cases.planted(SHAPE, 2)  # the parts of a random matrix: conditions below 10
    want = by_hand(grad, view, lambda x: cases.polar_by_hand(torch.from_numpy(x)).numpy())
    torch.testing.assert_close(replaced(grad, view=VIEWS[view]), want, rtol=0, atol=POLAR)
