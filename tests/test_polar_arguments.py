"""polar: hostile arguments get the right answer or an error in words, the same at every door."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import METHODS, Target, needs_native
from planted import bits, gaussian, truth
from torch import Tensor

import ortho_kernels as ok
from ortho_kernels.__main__ import main
from ortho_kernels.backends import native

Rng = np.random.Generator


def raises(error: type[Exception], words: str) -> Any:
    return pytest.raises(error, match=f"^{re.escape(words)}$")


# ---- x -------------------------------------------------------------------------------------------

BAD_INPUTS = [
    (torch.tensor(1.0), ValueError, "polar: x must have at least 2 dimensions, got shape ()"),
    (torch.ones(3), ValueError, "polar: x must have at least 2 dimensions, got shape (3,)"),
    *(
        (
            torch.ones(3, 4, dtype=dtype),
            TypeError,
            "polar: x must be float16, bfloat16, float32 or float64, got " + str(dtype)[6:],
        )
        for dtype in (torch.int64, torch.uint8, torch.bool, torch.complex64)
    ),
]


@pytest.mark.parametrize(("x", "error", "words"), BAD_INPUTS)
def test_bad_inputs(target: Target, x: Tensor, error: Any, words: str) -> None:
    with raises(error, words):
        target.polar(x)
    with raises(error, words):
        target.polar(x, out=torch.empty_like(x))
    with raises(error, words):
        ok.polar(x.to("meta"))
    with raises(error, words.replace("polar: x", "polar_foreach: tensors[1]")):
        target.polar_foreach([torch.ones(2, 2), x])


@needs_native
@pytest.mark.parametrize(("x", "error", "words"), BAD_INPUTS)
def test_the_numpy_door_says_the_same(x: Tensor, error: Any, words: str) -> None:
    with raises(error, words):
        native.module.polar(native.module.PolarOptions("exact"), x.numpy(), x.numpy().copy())


@pytest.mark.parametrize("x", [3.0, [[1.0]], np.ones((2, 2))], ids=type)
def test_not_a_tensor(x: Any) -> None:
    name = type(x).__name__
    with raises(TypeError, f"polar: x must be a torch.Tensor, got {name}"):
        ok.polar(x)
    with raises(TypeError, f"polar_foreach: tensors[0] must be a torch.Tensor, got {name}"):
        ok.polar_foreach([x])
    with raises(TypeError, f"polar: out must be a torch.Tensor, got {name}"):
        ok.polar(torch.ones(2, 2), out=x)


def test_meta() -> None:
    x = torch.empty(3, 16, 27, device="meta")
    for method in METHODS:
        out = ok.polar(x, method)
        assert out.is_meta
        assert out.shape == x.shape
    assert ok.polar(x, out=out) is out
    assert ok.polar_foreach([x])[0].is_meta


def test_sparse_is_refused(target: Target) -> None:
    with pytest.raises(RuntimeError, match=r"^polar: "):
        target.polar(torch.eye(3).to_sparse())


def test_lazy_negation(target: Target, rng: Rng) -> None:
    x = torch.view_as_complex(gaussian(rng, 4, 6, 2)).conj().imag
    assert x.is_neg()
    assert bits(target.polar(x)) == bits(target.polar(x.clone()))


def test_parameters_and_subclasses(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 4, 6)
    with torch.no_grad():
        assert bits(target.polar(torch.nn.Parameter(x))) == bits(target.polar(x))
    with torch.inference_mode():
        assert bits(target.polar(x.clone())) == bits(target.polar(x))


# ---- Options -------------------------------------------------------------------------------------

BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"method": "qr"},
        ValueError,
        "method must be 'auto', 'exact', 'newton', 'svd', 'polar_express' or 'newton_schulz', "
        "got 'qr'",
    ),
    ({"rtol": -1.0}, ValueError, "rtol must be >= 0, got -1.0"),
    ({"rtol": float("nan")}, ValueError, "rtol must be >= 0, got nan"),
    ({"rtol": "fp8"}, ValueError, "rtol must be a number >= 0 or 'bf16', got 'fp8'"),
    ({"rtol": [1]}, TypeError, "rtol must be a number >= 0 or 'bf16', got list"),
    ({"rank": "full"}, ValueError, "rank must be 'truncate' or 'complete', got 'full'"),
    ({"backend": "tpu"}, ValueError, "backend must be None, 'native' or 'eager', got 'tpu'"),
    ({"method": "newton_schulz", "steps": 0}, ValueError, "steps must be >= 1, got 0"),
    ({"method": "newton_schulz", "steps": 2.0}, TypeError, "steps must be an int, got float"),
    (
        {"method": "newton_schulz", "precision": "float64"},
        ValueError,
        "precision must be 'float32', 'float16' or 'bfloat16', got 'float64'",
    ),
    (
        {"method": "polar_express", "rank": "complete"},
        ValueError,
        "rank='complete' needs method 'exact', 'svd' or 'auto', got 'polar_express'",
    ),
    (
        {"method": "newton_schulz", "rtol": 0.1},
        ValueError,
        "rtol=0.1 needs method 'exact', 'svd' or 'auto', got 'newton_schulz'",
    ),
    (
        {"steps": 3},
        ValueError,
        "steps=3 needs method 'polar_express' or 'newton_schulz', got 'auto'",
    ),
    (
        {"method": "svd", "precision": "float16"},
        ValueError,
        "precision='float16' needs method 'polar_express' or 'newton_schulz', got 'svd'",
    ),
    (
        {"method": "exact", "coefficients": "cubic"},
        ValueError,
        "coefficients='cubic' needs method 'polar_express' or 'newton_schulz', got 'exact'",
    ),
    (
        {"method": "newton", "rank": "complete"},
        ValueError,
        "rank='complete' needs method 'exact', 'svd' or 'auto', got 'newton'",
    ),
    (
        {"method": "newton", "rtol": 0.0},
        ValueError,
        "rtol=0.0 needs method 'exact', 'svd' or 'auto', got 'newton'",
    ),
    (
        {"method": "newton", "steps": 5},
        ValueError,
        "steps=5 needs method 'polar_express' or 'newton_schulz', got 'newton'",
    ),
    (
        {"method": "newton", "coefficients": [(1.5, -0.5, 0.0)]},
        ValueError,
        "coefficients='a table of 1' needs method 'polar_express' or 'newton_schulz', got 'newton'",
    ),
    (
        {"method": "newton", "precision": "bfloat16"},
        ValueError,
        "precision='bfloat16' needs method 'polar_express' or 'newton_schulz', got 'newton'",
    ),
    (
        {"method": "exact", "precision": "float32"},
        ValueError,
        "precision='float32' needs method 'newton', 'polar_express' or 'newton_schulz', "
        "got 'exact'",
    ),
    (
        {"method": "newton_schulz", "coefficients": [(1.0, 2.0)]},
        ValueError,
        "coefficients must be a name or a sequence of (a, b, c) triples, got [(1.0, 2.0)]",
    ),
    (
        {"method": "newton_schulz", "coefficients": []},
        ValueError,
        "coefficients must be finite (a, b, c) triples, got ()",
    ),
    (
        {"method": "newton_schulz", "coefficients": [(1.0, 2.0, float("inf"))]},
        ValueError,
        "coefficients must be finite (a, b, c) triples, got (1.0, 2.0, inf)",
    ),
]


@pytest.mark.parametrize(("options", "error", "words"), BAD_OPTIONS)
def test_bad_options(options: dict[str, Any], error: Any, words: str) -> None:
    x = torch.eye(3)
    with raises(error, f"polar: {words}"):
        ok.polar(x, **options)
    with raises(error, f"polar: {words}"):
        ok.polar(x, out=torch.empty_like(x), **options)
    with raises(error, f"polar: {words}"):
        ok.polar(x.to("meta"), **options)
    with raises(error, f"polar_foreach: {words}"):
        ok.polar_foreach([x], **options)
    with raises(error, f"polar_foreach: {words}"):
        ok.polar_foreach([], **options)


def test_unknown_coefficients_name_the_known() -> None:
    with pytest.raises(
        ValueError, match=r"^polar: coefficients must be 'keller_jordan', .*'nope'$"
    ):
        ok.polar(torch.eye(2), "newton_schulz", coefficients="nope")


def test_no_silent_fallback() -> None:
    x = torch.eye(3)
    words = "polar: backend 'native' cannot serve this call: "
    with pytest.raises(RuntimeError, match=words):
        ok.polar(x, "svd", backend="native")
    with pytest.raises(RuntimeError, match=words.replace("polar:", "polar_foreach:")):
        ok.polar_foreach([x], "svd", backend="native")
    assert torch.equal(ok.polar(x, "svd"), x)  # without a wish, whoever can serve serves


# ---- Threads and build ---------------------------------------------------------------------------


def test_build_info(capsys: pytest.CaptureFixture[str]) -> None:
    facts = ok.build_info()
    header = Path(__file__).parent.parent / "csrc" / "include" / "ortho" / "ortho.h"
    numbers = re.findall(r"ORTHO_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read_text())
    assert facts["version"] == ok.__version__ == ".".join(numbers)
    if native.module is not None:
        assert facts["native"] == "yes"
        assert native.module.version() == facts["version"]
        rows = ("avx512_bf16", "avx512", "avx2", "baseline", "reference")
        assert facts["isa"] in rows
    else:
        assert facts["native"] == native.reason
    main()
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed and value in printed for name, value in facts.items())


def test_set_num_threads(threads: Any) -> None:
    threads(2)
    assert ok.get_num_threads() == 2
    with raises(ValueError, "set_num_threads: n must be >= 1, got 0"):
        threads(0)
    with raises(TypeError, "set_num_threads: n must be an int, got float"):
        threads(1.5)


def test_truth_is_not_what_is_tested(rng: Rng) -> None:
    """The reference itself: its factor times the symmetric one is the matrix."""
    x = gaussian(rng, 9, 12, dtype=torch.float64)
    o = truth(x)
    p = x.numpy() @ o.T
    assert np.abs(p - p.T).max() < 1e-12
    assert np.linalg.eigvalsh(p).min() > 0
    assert np.abs(o @ o.T - np.eye(9)).max() < 1e-12
