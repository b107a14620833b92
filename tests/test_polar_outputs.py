"""polar: outputs of the caller's, and the doors that know read-only and reversed arrays."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, Target, exact_bound, needs_native, rounding
from planted import bits, gaussian, relative_error
from torch import Tensor

import ortho_kernels as ok
from ortho_kernels import checks
from ortho_kernels.backends import native
from ortho_kernels.reference import polar as reference
from ortho_kernels.tensors import layout

Rng = np.random.Generator


def raises(error: type[Exception], words: str) -> Any:
    return pytest.raises(error, match=f"^{re.escape(words)}$")


def bad_outputs() -> list[tuple[Tensor, Tensor, type[Exception], str]]:
    base = torch.ones(60)
    x = base[:6].view(2, 3)
    return [
        (x, torch.ones(3, 2), ValueError, "out must have shape (2, 3), got (3, 2)"),
        (x, torch.ones(2, 3).double(), TypeError, "out must be float32 like x, got float64"),
        (
            x,
            torch.ones(1, 3).expand(2, 3),
            ValueError,
            "out must not overlap itself, got strides (0, 1)",
        ),
        (
            x,
            base[10:].as_strided((2, 3), (1, 1)),
            ValueError,
            "out must not overlap itself, got strides (1, 1)",
        ),
        (
            x,
            base[3:9].view(2, 3),
            ValueError,
            "out must not overlap x unless it is the same memory",
        ),
        (
            base[:9].view(3, 3),
            base[:9].view(3, 3).mT,
            ValueError,
            "out must not overlap x unless it is the same memory",
        ),
    ]


@pytest.mark.parametrize(("x", "out", "error", "words"), bad_outputs())
def test_bad_outputs(target: Target, x: Tensor, out: Tensor, error: Any, words: str) -> None:
    with raises(error, f"polar: {words}"):
        ok.polar(x, backend=target.backend, out=out)
    for_many = words.replace("out", "out[0]").replace("x,", "tensors[0],")
    for_many = for_many.replace(" x ", " tensors[0] ")
    with raises(error, f"polar_foreach: {for_many}"):
        ok.polar_foreach([x], view="batch", backend=target.backend, out=[out])
    assert x.eq(1).all()


@needs_native
@pytest.mark.parametrize(("x", "out", "error", "words"), bad_outputs())
def test_the_numpy_door_says_the_same_of_outputs(
    x: Tensor, out: Tensor, error: Any, words: str
) -> None:
    with raises(error, f"polar: {words}"):
        native.module.polar(native.module.PolarOptions("exact"), x.numpy(), out.numpy())


def test_mixed_devices(target: Target) -> None:
    x, elsewhere = torch.eye(3), torch.empty(3, 3, device="meta")
    with raises(ValueError, "polar: out must be on cpu like x, got meta"):
        ok.polar(x, backend=target.backend, out=elsewhere)
    with raises(ValueError, "polar: out must be on meta like x, got cpu"):
        ok.polar(elsewhere, backend=target.backend, out=x)
    with raises(ValueError, "polar_foreach: out[1] must be on cpu like tensors[1], got meta"):
        ok.polar_foreach([x, x], out=[x.clone(), elsewhere])


def test_many_tensors_on_many_devices() -> None:
    """Each is served where it is."""
    first, second, third = ok.polar_foreach(
        [2 * torch.eye(3), torch.empty(3, 5, device="meta"), 3 * torch.eye(4)]
    )
    assert (first - torch.eye(3)).norm() <= rounding(torch.float32, 3, 8)
    assert second.is_meta
    assert (third - torch.eye(4)).norm() <= rounding(torch.float32, 4, 8)
    with pytest.raises(RuntimeError, match="polar_foreach: backend 'native' cannot serve"):
        ok.polar_foreach([torch.eye(3), torch.empty(3, 3, device="meta")], backend="native")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    x = gaussian(rng, 2, 9, 12, dtype=dtype)
    wanted = target.polar(x)
    poisoned = torch.full((4, 11, 26), torch.nan, dtype=dtype)
    outs = [
        torch.full_like(x, torch.nan),
        torch.full((2, 12, 9), torch.nan, dtype=dtype).mT,
        poisoned[1:3, 1:10, 1:25:2],
    ]
    for out in outs:
        version = out._version
        assert ok.polar(x, backend=target.backend, out=out) is out
        assert bits(out) == bits(wanted)
        assert out._version > version  # autograd sees what was written in place
    assert poisoned.isnan().sum() == poisoned.numel() - x.numel()  # and nothing beside it
    same = x.clone()
    ok.polar(same, backend=target.backend, out=same)
    assert bits(same) == bits(wanted)
    ok.polar(same, "newton_schulz", backend=target.backend, out=same)
    assert same.isfinite().all()


# ---- NumPy ---------------------------------------------------------------------------------------


@needs_native
def test_negative_strides_and_read_only_arrays(rng: Rng) -> None:
    options = native.module.PolarOptions("exact")
    x = rng.normal(size=(5, 16, 27)).astype(np.float32)
    for view in (x[::-1], x[:, ::-1, ::-1], x[::-2, ::3, ::-2], x.swapaxes(1, 2)[:, ::-1]):
        before = x.tobytes()
        out = np.full(view.shape, np.nan, np.float32)
        native.module.polar(options, view, out)
        assert relative_error(torch.from_numpy(out), reference.polar(view)) <= exact_bound(
            torch.float32, 1e4
        )
        native.module.polar(options, view, turned := np.empty_like(out)[..., ::-1])
        assert np.array_equal(turned, out)
        assert x.tobytes() == before
    x.flags.writeable = False
    native.module.polar(options, x, out := np.empty(x.shape, np.float32))
    assert relative_error(torch.from_numpy(out), reference.polar(x)) <= 1e-5
    out.flags.writeable = False
    with raises(ValueError, "polar: out must be writable, got a read-only array"):
        native.module.polar(options, x, out)


def test_read_only_output_in_python() -> None:
    """Torch knows no read-only tensors; doors that do share these words."""
    x = layout(torch.ones(2, 3))
    locked = checks.Layout(x.shape, x.dtype, x.device, x.strides, 4, x.address + 999, True)
    with raises(ValueError, "polar: out must be writable, got a read-only array"):
        checks.check_output("polar", "out", "x", locked, x)
