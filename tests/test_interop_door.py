"""The Python door: any DLPack array in, the same bits out, and nothing copied."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dlpack_producers import CUDA_HOST, CapsulesOnly, Producer, with_exchange_api
from door_cases import EXACT, _native, matrix, polar, same_bits

DTYPES = ("float16", "float32", "float64")


def test_answer_is_the_polar_factor():
    x = matrix(3, 8, 5)
    u, _, vt = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    assert np.abs(polar(x) - u @ vt).max() < 1e-5


# ---- Every kind of array: the same bits ----------------------------------------------------------


KINDS = {
    "torch": torch.from_numpy,
    "torch that requires grad": lambda a: torch.from_numpy(a).requires_grad_(),
    "torch parameter": lambda a: torch.nn.Parameter(torch.from_numpy(a)),
    "torch by capsule": lambda a: CapsulesOnly(torch.from_numpy(a)),
    "versioned capsule": Producer,
    "unversioned capsule": lambda a: Producer(a, versioned=False),
    "capsule without strides": lambda a: Producer(a, strides=False),
    "capsule with a byte offset": lambda a: Producer(a, byte_offset=a.itemsize),
    "pinned memory": lambda a: Producer(a, device=CUDA_HOST),
    "exchange API": lambda a: with_exchange_api()(a),
    "exchange API that does not lend": lambda a: with_exchange_api(borrows=False)(a),
    "exchange API with an older table": lambda a: with_exchange_api(major=2, older=True)(a),
    "exchange API too new": lambda a: with_exchange_api(major=2)(a),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_whatever_the_array(kind, dtype):
    x = matrix(2, 5, 7, dtype=dtype)
    before, out = x.copy(), np.zeros_like(x)
    _native.polar(EXACT, KINDS[kind](x), KINDS[kind](out))
    assert same_bits(out, polar(before))
    assert same_bits(x, before)


def test_bfloat16_by_capsule_and_by_exchange():
    x = torch.from_numpy(matrix(6, 4)).bfloat16()
    lent, exported = torch.zeros_like(x), torch.zeros_like(x)
    _native.polar(EXACT, x, lent)
    _native.polar(EXACT, CapsulesOnly(x), CapsulesOnly(exported))
    assert lent.abs().sum() > 0
    assert torch.equal(lent.view(torch.int16), exported.view(torch.int16))


LAYOUTS = {
    "transposed": lambda a: a.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "every second": lambda a: np.repeat(np.repeat(a, 2, -1), 2, -2)[..., ::2, ::2],
    "reversed rows": lambda a: a[..., ::-1, :].copy()[..., ::-1, :],
    "reversed columns": lambda a: a[..., ::-1].copy()[..., ::-1],
    "fortran": np.asfortranarray,
    "offset": lambda a: np.pad(a, [(0, 0), (1, 1), (2, 2)])[:, 1:-1, 2:-2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_whatever_the_layout(layout, dtype):
    x = matrix(2, 5, 7, dtype=dtype)
    out = LAYOUTS[layout](np.zeros_like(x))
    _native.polar(EXACT, LAYOUTS[layout](x), out)
    assert same_bits(out, polar(x))


def test_expanded_input_and_output():
    row = matrix(1, 6)
    wide = np.broadcast_to(row, (4, 6))  # one row four times: rank one, and read-only
    assert same_bits(polar(wide), polar(wide.copy()))
    out = np.empty((4, 6), np.float32)
    _native.polar(EXACT, torch.from_numpy(row).expand(4, 6), out)
    assert same_bits(out, polar(wide))
    with pytest.raises(ValueError, match=r"^polar: out must not overlap itself, got strides"):
        _native.polar(EXACT, matrix(4, 6), torch.zeros(1, 6).expand(4, 6))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 0, 3), (0, 3, 3)])
def test_empty(shape):
    for make in (np.zeros, torch.zeros):
        assert _native.polar(EXACT, make(shape), make(shape)) is None


def test_in_place_and_zero_copy():
    memory = bytearray(4 * 35)
    out = np.frombuffer(memory, np.float32).reshape(5, 7)
    x = matrix(5, 7)
    _native.polar(EXACT, x, out)
    assert bytes(memory) == polar(x).tobytes()
    tensor = torch.from_numpy(x.copy())
    address = tensor.data_ptr()
    _native.polar(EXACT, tensor, tensor)
    assert tensor.data_ptr() == address
    assert same_bits(tensor, memory)


def test_requires_grad_is_data():
    x = torch.from_numpy(matrix(3, 4)).requires_grad_()
    out = torch.zeros(3, 4)
    _native.polar(EXACT, x, out)
    assert out.grad_fn is None
    assert same_bits(out, polar(matrix(3, 4)))


def test_polynomial():
    x = matrix(6, 9)
    cubic = _native.PolarOptions("polynomial", coefficients=[1.5, -0.5, 0.0] * 40)
    assert np.abs(polar(x, cubic) - polar(x)).max() < 1e-5
    assert not same_bits(polar(x, cubic), polar(x))


def test_frobenius_norm():
    x = matrix(2, 5, 7)
    for source, out in ((x, np.empty(2)), (torch.from_numpy(x), torch.empty(2).double())):
        _native.frobenius_norm(source, out)
        np.testing.assert_allclose(out, np.linalg.norm(x.astype(np.float64), axis=(1, 2)), 1e-14)
    with pytest.raises(TypeError, match=r"^frobenius_norm: x must be an array with __dlpack__"):
        _native.frobenius_norm([[1.0]], np.empty(()))


# ---- Many arrays in one call ---------------------------------------------------------------------


def test_foreach_is_polar_of_each():
    xs = [matrix(4, 9), matrix(9, 4, dtype="float64"), matrix(3, 5, 2), matrix(0, 2)]
    outs = [np.zeros_like(x) for x in xs]
    _native.polar_foreach(EXACT, [xs[0], torch.from_numpy(xs[1]), *xs[2:]], tuple(outs), None)
    for x, out in zip(xs, outs, strict=True):
        assert same_bits(out, polar(x))


def test_foreach_row_blocks():
    conv, heads = matrix(6, 3, 2, 2), matrix(8, 5)
    outs = [np.zeros_like(conv), np.zeros_like(heads)]
    _native.polar_foreach(EXACT, [conv, heads], outs, [1, 2])
    assert same_bits(outs[0], polar(conv.reshape(6, 12)))
    assert same_bits(outs[1], polar(heads.reshape(2, 4, 5)))


@pytest.mark.parametrize(
    ("outs", "row_blocks", "error", "words"),
    [
        (1, None, ValueError, "polar_foreach: out must have length 2 like tensors, got 1"),
        (2, [1], ValueError, "polar_foreach: row_blocks must have length 2 like tensors, got 1"),
        (
            0,
            None,
            TypeError,
            "polar_foreach: out[1] must be an array with __dlpack__, got NoneType",
        ),
    ],
)
def test_foreach_errors(outs, row_blocks, error, words):
    x = [matrix(2, 3), matrix(2, 3)]
    out = [np.zeros((2, 3), np.float32)] * outs if outs else [x[0].copy(), None]
    with pytest.raises(error) as raised:
        _native.polar_foreach(EXACT, x, out, row_blocks)
    assert str(raised.value) == words


def test_foreach_of_one_speaks_of_tensors():
    for row_blocks in (None, [1]):
        with pytest.raises(ValueError, match=r"^polar_foreach: tensors\[0\] must have at least 2"):
            _native.polar_foreach(EXACT, [matrix(3)], [matrix(3)], row_blocks)
