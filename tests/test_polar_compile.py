"""polar as a torch op: opcheck, torch.compile, fake tensors, many shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, METHODS, Target, rounding
from planted import bits, gaussian
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import ortho_kernels as ok

Rng = np.random.Generator
OPS = torch.ops.ortho_kernels
COMPILERS = ["eager", "aot_eager", "inductor"]


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


# ---- opcheck -------------------------------------------------------------------------------------


def check(op: Any, *args: Any, **kwargs: Any) -> None:
    results = torch.library.opcheck(op, args, kwargs)
    assert set(results.values()) == {"SUCCESS"}, results


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_opcheck(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    backend = target.backend
    x = gaussian(rng, 2, 6, 9, dtype=dtype)
    for one in (x, x.mT, x[:, ::2, 1:], x[0], x[0].expand(3, 6, 9)):
        check(OPS.polar.default, one, backend=backend)
    check(OPS.polar.default, x, "polar_express", steps=3, precision="bfloat16", backend=backend)
    check(OPS.polar.default, x, "newton_schulz", coefficients=[1.5, -0.5, 0.0], backend=backend)
    check(OPS.polar.default, x, "newton", backend=backend)
    check(OPS.polar_out.default, x, torch.empty_like(x), backend=backend)
    check(OPS.frobenius_norm.default, x, backend=backend)
    many = [x, x[0].mT, gaussian(rng, 4, 3, 3, 3)]
    check(OPS.polar_foreach.default, many, [0, 1, 2], backend=backend)
    outs = [torch.empty_like(one) for one in many]
    check(OPS.polar_foreach_out.default, many, outs, [0, 1, 2], backend=backend)


def test_opcheck_with_gradient(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 2, 4, 6).requires_grad_()
    check(OPS.polar.default, x, backend=target.backend)
    check(OPS.frobenius_norm.default, x, backend=target.backend)
    check(OPS.polar_foreach.default, [x, gaussian(rng, 3, 3)], [0, 1], backend=target.backend)


# ---- torch.compile -------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiled(target: Target, rng: Rng, compiler: str) -> None:
    """The public functions inside a larger graph, without a break."""
    backend = target.backend

    def step(x: Tensor, y: Tensor) -> Tensor:
        factor = ok.polar(2 * x, backend=backend) + 1
        rough = ok.polar(x, "newton_schulz", coefficients=[(1.5, -0.5, 0.0)], backend=backend)
        many = ok.polar_foreach([x, y], view=["batch", ok.heads(2)], rtol="bf16", backend=backend)
        return factor.sum() + rough.norm() + many[1].abs().sum() * ok.frobenius_norm(x).sum()

    # In float64: the sums cancel, and float32 adds them in another order when compiled.
    x, y = gaussian(rng, 2, 6, 9).double(), gaussian(rng, 4, 3, 3, 3).double()
    compiled = torch.compile(step, fullgraph=True, backend=compiler)
    torch.testing.assert_close(compiled(x, y), step(x, y))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiled_with_outputs(target: Target, rng: Rng, compiler: str) -> None:
    """The mutating forms: what is written is seen, in the order it was written."""
    backend = target.backend

    def step(x: Tensor, buffer: Tensor) -> Tensor:
        before = buffer.sum()
        ok.polar(x, backend=backend, out=buffer)
        once = buffer.clone()
        ok.polar_foreach([x], "newton_schulz", view="batch", backend=backend, out=[buffer])
        return before + (once - buffer).abs().sum()

    x = gaussian(rng, 6, 9)
    expected_buffer, buffer = torch.ones(6, 9), torch.ones(6, 9)
    expected = step(x, expected_buffer)
    got = torch.compile(step, fullgraph=True, backend=compiler)(x, buffer)
    torch.testing.assert_close(got, expected)
    assert bits(buffer) == bits(expected_buffer)


@pytest.mark.parametrize("compiler", ["eager", "inductor"])
@pytest.mark.parametrize("form", ["polar", "polar_foreach"])
def test_fifty_shapes(target: Target, rng: Rng, compiler: str, form: str) -> None:
    """Far beyond the recompile limit, which raises here rather than falls back."""
    backend = target.backend

    def one(x: Tensor) -> Tensor:
        if form == "polar":
            return ok.polar(x, "newton_schulz", steps=1, backend=backend)
        return ok.polar_foreach([x], "newton_schulz", steps=1, backend=backend)[0]

    compiled = torch.compile(one, fullgraph=True, backend=compiler)
    shapes = {(int(m), int(n)) for m, n in rng.integers(1, 40, (200, 2))}
    shapes |= {(1, 1), (1, 7), (7, 1), (5, 5)}
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for m, n in sorted(shapes)[:50]:
            x = gaussian(rng, m, n)
            assert (compiled(x) - one(x)).norm() <= rounding(torch.float32, max(m, n), 8)


def test_gradient_through_a_compiled_graph(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 5, 7, dtype=torch.float64)
    w = gaussian(rng, 5, 7, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return (w * ok.polar(x, backend=target.backend)).sum() + ok.frobenius_norm(x)

    gradients = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        leaf = x.clone().requires_grad_()
        function(leaf).backward()
        gradients.append(leaf.grad)
    assert gradients[0].norm() > 0.1
    torch.testing.assert_close(*gradients)


# ---- Fake tensors --------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "meta", "cuda"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fake_tensors(device: str, dtype: torch.dtype) -> None:
    """Shapes, dtypes, strides and devices without a GPU and without any data."""
    with FakeTensorMode():
        x = torch.empty(4, 9, 6, device=device, dtype=dtype).mT
        for method in ("auto", *METHODS):
            out = ok.polar(x, method)
            assert (out.shape, out.dtype, out.device) == (x.shape, x.dtype, x.device)
            assert out.stride() == torch.empty_like(x).stride()
            many = ok.polar_foreach([x, x.mT], method)
            assert [one.shape for one in many] == [x.shape, x.mT.shape]
        assert ok.polar(x, out=out) is out
        norm = ok.frobenius_norm(x)
        assert (norm.shape, norm.dtype, norm.device) == ((4,), torch.float64, x.device)
        with pytest.raises(ValueError, match=r"^polar: x must have at least 2 dimensions"):
            ok.polar(torch.empty(3, device=device))


def test_fake_tensors_of_two_devices() -> None:
    with FakeTensorMode():
        tensors = [torch.empty(3, 4), torch.empty(5, 6, device="cuda")]
        outs = ok.polar_foreach(tensors)
        assert [out.device.type for out in outs] == ["cpu", "cuda"]


def test_export(rng: Rng) -> None:
    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ok.polar(x, rank="complete")

    x = gaussian(rng, 3, 5)
    dimension = torch.export.Dim("rows", min=2)
    program = torch.export.export(Module(), (x,), dynamic_shapes=({0: dimension},))
    assert "ortho_kernels.polar" in program.graph_module.code
    y = gaussian(rng, 4, 5)
    assert bits(program.module()(y)) == bits(ok.polar(y, rank="complete"))
