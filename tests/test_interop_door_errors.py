"""The Python door refuses in words: op, argument, what was needed, what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from dlpack_producers import READ_ONLY, Producer, with_exchange_api
from door_cases import EXACT, F32, FOREIGN, _native, matrix, polar, same_bits


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def test_read_only_is_read_but_not_written():
    x = read_only(matrix(3, 4))
    assert same_bits(polar(x), polar(x.copy()))
    words = r"^polar: out must be writable, got a read-only array$"
    for out in (read_only(x), Producer(x.copy(), flags=READ_ONLY)):
        with pytest.raises(ValueError, match=words):
            _native.polar(EXACT, matrix(3, 4, seed=1), out)
    lent = with_exchange_api(borrows=False)(x.copy(), flags=READ_ONLY)
    with pytest.raises(ValueError, match=words):
        _native.polar(EXACT, matrix(3, 4, seed=1), lent)


NOT_ARRAYS = {"list": [[1.0]], "NoneType": None, "float": 1.0, "str": "x", "type": np.ndarray}


@pytest.mark.parametrize("name", NOT_ARRAYS)
@pytest.mark.parametrize("argument", ["x", "out"])
def test_not_an_array(name, argument):
    arguments = {"x": F32, "out": F32.copy(), argument: NOT_ARRAYS[name]}
    with pytest.raises(TypeError) as raised:
        _native.polar(EXACT, arguments["x"], arguments["out"])
    assert str(raised.value) == f"polar: {argument} must be an array with __dlpack__, got {name}"


@pytest.mark.parametrize("make", [lambda a: a, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("x", "out", "error", "words"),
    [
        *(
            (
                F32.astype(d),
                F32.astype(d),
                TypeError,
                f"x must be float16, bfloat16, float32 or float64, got {d}",
            )
            for d in ("int64", "uint8", "bool", "complex64", "complex128")
        ),
        (F32[0], F32[0], ValueError, "x must have at least 2 dimensions, got shape (3,)"),
        (
            F32[0, 0:1].reshape(()),
            F32,
            ValueError,
            "x must have at least 2 dimensions, got shape ()",
        ),
        (F32, matrix(3, 2), ValueError, "out must have shape (2, 3), got (3, 2)"),
        (F32, F32.astype("f8"), TypeError, "out must be float32 like x, got float64"),
    ],
)
def test_words_of_the_library(make, x, out, error, words):
    with pytest.raises(error) as raised:
        _native.polar(EXACT, make(x), make(out.copy()))
    assert str(raised.value) == f"polar: {words}"


def test_overlap():
    memory = matrix(4, 3)
    with pytest.raises(ValueError, match=r"^polar: out must not overlap x unless it is the same"):
        _native.polar(EXACT, memory[:3], memory[1:])


RECORDS = np.zeros((2, 3), [("a", "f4"), ("b", "i1")])["a"]


@pytest.mark.parametrize("x", [FOREIGN, RECORDS, F32.astype(object)])
def test_numpy_cannot_describe_it(x):
    with pytest.raises(
        TypeError, match=r"^polar: x must be an array that DLPack can describe, got"
    ) as raised:
        _native.polar(EXACT, x, np.zeros((2, 3), np.float32))
    assert isinstance(raised.value.__cause__, BufferError)


def test_ml_dtypes_bfloat16_is_refused_in_words():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = F32.astype(ml_dtypes.bfloat16)
    with pytest.raises(TypeError, match=r"^polar: x must be an array that DLPack can describe"):
        _native.polar(EXACT, x, x.copy())


def fake() -> torch.Tensor:
    with torch._subclasses.FakeTensorMode():
        return torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: torch.zeros(2, 3, device="meta"), RuntimeError, "DLPack can describe, got Tensor"),
        (lambda: torch.zeros(2, 3).to_sparse(), RuntimeError, "DLPack can describe, got Tensor"),
        (fake, ValueError, "must point to its elements, got a null pointer"),
    ],
    ids=["meta", "sparse", "fake"],
)
def test_torch_has_no_memory_to_show(make, error, words):
    with pytest.raises(error, match=words) as raised:
        _native.polar(EXACT, make(), torch.zeros(2, 3))
    assert "\n" not in str(raised.value)


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __dlpack__(self, **keywords: Any) -> Any:
        raise self.error


def test_the_producers_own_errors():
    for error in (ZeroDivisionError("no"), AttributeError("no"), TypeError("no")):
        with pytest.raises(RuntimeError, match=r"got Raising \(no\)$") as raised:
            _native.polar(EXACT, Raising(error), F32.copy())
        assert raised.value.__cause__ is error
    with pytest.raises(KeyboardInterrupt):
        _native.polar(EXACT, Raising(KeyboardInterrupt()), F32.copy())


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"method": "svd"}, "method must be 'exact' or 'polynomial' or 'newton', got 'svd'"),
        ({"rank": "full"}, "rank must be 'truncate' or 'complete', got 'full'"),
        (
            {"precision": "tf32"},
            "precision must be 'float32' or 'float16' or 'bfloat16', got 'tf32'",
        ),
        ({"rtol": -1.0}, "rtol must be >= 0, got -1.0"),
        ({"rtol": float("nan")}, "rtol must be >= 0, got nan"),
        ({"coefficients": [1.0] * 4}, "coefficients must hold 3 numbers per step, got 4"),
    ],
)
def test_options(keywords, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the whole text is compared
        _native.PolarOptions(**{"method": "exact", **keywords})
    assert str(raised.value) == f"polar: {words}"


def test_options_that_the_library_refuses():
    with pytest.raises(ValueError, match=r"^polar: steps must be >= 1, got 0$"):
        polar(F32, _native.PolarOptions("polynomial"))
    with pytest.raises(ValueError, match="must be >= 1"):
        _native.set_num_threads(0)
