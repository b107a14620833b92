"""Tables of Polar Express where they are used: in `polar`, with arguments of every kind, and in the
docs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Target, polynomial_bound
from planted import as_array, gaussian, relative_error, with_singular_values

import ortho_kernels as ok
from ortho_kernels.coefficients import polar_express_error, polar_express_table
from ortho_kernels.polar_express import SAFETY
from ortho_kernels.reference import polar as reference

# ---- In a call -----------------------------------------------------------------------------------


def test_polar_takes_a_table(target: Target, rng: np.random.Generator) -> None:
    sigma = np.geomspace(1, 1e-2, 24)
    sigma /= np.linalg.norm(sigma)
    low = float(sigma.min())
    x = with_singular_values(rng, 24, 60, sigma)
    table, error = polar_express_table(low, 4), polar_express_error(low, 4)
    assert error > 1e-3
    out = target.polar(x, "polar_express", coefficients=table)
    end = np.linalg.svd(as_array(out), compute_uv=False)
    slack = polynomial_bound("float32") * np.sqrt(24)  # a promise on the norm of the whole matrix
    assert np.abs(1 - end).max() == pytest.approx(error, abs=slack)
    assert relative_error(out, reference.polynomial(as_array(x), table)) < slack


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_table_with_safety_serves_half_precision(
    target: Target, precision: str, rng: np.random.Generator
) -> None:
    x = gaussian(rng, 48, 120)
    table = polar_express_table(1e-3, 8, safety=1.02)
    out = target.polar(x, "polar_express", coefficients=table, precision=precision)
    truth = reference.polynomial(as_array(x), table)
    assert relative_error(out, truth) < polynomial_bound(precision)


@pytest.mark.parametrize(
    ("precision", "safety"), [("float32", SAFETY), ("float16", 1.02), ("bfloat16", 1.02)]
)
def test_a_matrix_near_rank_one_stays_finite(
    target: Target, precision: str, safety: float, rng: np.random.Generator
) -> None:
    """It starts at the very top of the interval, and without safety it is thrown to infinity."""
    table = polar_express_table(1e-7, 16, safety=safety)
    bare = polar_express_table(1e-7, 16, safety=1)
    x = gaussian(rng, 40, 16, 1) * gaussian(rng, 40, 1, 144)
    out = target.polar(x, "polar_express", coefficients=table, precision=precision)
    top = np.linalg.norm(as_array(out), 2, axis=(-2, -1))
    assert np.abs(1 - top).max() < polynomial_bound(precision)
    out = target.polar(x, "polar_express", coefficients=bare, precision=precision)
    assert not torch.isfinite(out).all() or out.abs().max() > 2


# ---- Arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [polar_express_table, polar_express_error])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"lower_bound": 0}, ValueError, "lower_bound must be in (0, 1], got 0"),
        ({"lower_bound": -1e-3}, ValueError, "lower_bound must be in (0, 1], got -0.001"),
        ({"lower_bound": 1.5}, ValueError, "lower_bound must be in (0, 1], got 1.5"),
        ({"lower_bound": float("nan")}, ValueError, "lower_bound must be in (0, 1], got nan"),
        ({"lower_bound": "1e-3"}, TypeError, "lower_bound must be a number, got str"),
        ({"lower_bound": True}, TypeError, "lower_bound must be a number, got bool"),
        ({"steps": 0}, ValueError, "steps must be >= 1, got 0"),
        ({"steps": -3}, ValueError, "steps must be >= 1, got -3"),
        ({"steps": 5.0}, TypeError, "steps must be an int, got float"),
        ({"steps": True}, TypeError, "steps must be an int, got bool"),
        ({"safety": 0.99}, ValueError, "safety must be in [1, 1.875), got 0.99"),
        ({"safety": 1.875}, ValueError, "safety must be in [1, 1.875), got 1.875"),
        ({"safety": None}, TypeError, "safety must be a number, got NoneType"),
        ({"cushion": -0.1}, ValueError, "cushion must be in [0, 1], got -0.1"),
        ({"cushion": 2}, ValueError, "cushion must be in [0, 1], got 2"),
        ({"cushion": 1j}, TypeError, "cushion must be a number, got complex"),
    ],
)
def test_bad_arguments(
    op: Callable[..., Any], arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        op(**{"lower_bound": 1e-3, "steps": 5, **arguments})
    assert str(caught.value) == f"{op.__name__}: {words}"


def test_numbers_of_any_make_give_one_table() -> None:
    table = polar_express_table(1e-3, 5)
    assert polar_express_table(np.float64(1e-3), np.int64(5), safety=SAFETY) is table
    assert all(type(value) is float for triple in table for value in triple)
    assert ok.coefficients.polar_express_table is polar_express_table
    for tiny in (5e-324, 1e-300):
        assert np.isfinite(polar_express_table(tiny, 4)).all()
        assert polar_express_error(tiny, 600) < 1e-15


# ---- The docs ------------------------------------------------------------------------------------

SECTION = re.search(
    r"^## A table for your own interval$(.*?)^## ",
    (Path(__file__).parent.parent / "docs" / "ops" / "polar.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


def test_the_docs_show_what_runs() -> None:
    assert SECTION
    blocks = re.findall(r"^```python\n(.*?)^```$", SECTION[1], re.MULTILINE | re.DOTALL)
    assert blocks
    torch.manual_seed(0)
    names: dict[str, object] = {"x": torch.randn(32, 64)}
    for block in blocks:
        exec(compile(block, "docs/ops/polar.md", "exec"), names)


def test_the_docs_state_the_errors_there_are() -> None:
    assert SECTION
    table = re.findall(r"^\| (.*) \|$", SECTION[1], re.MULTILINE)
    head, *rows = [line.split(" | ") for line in table]
    assert len(rows) == 7
    for low, *cells in rows:
        for steps, cell in zip(head[1:], cells, strict=True):
            error = polar_express_error(float(low), int(steps))
            assert cell == ("0" if error < 1e-15 else f"{error:.2g}"), (low, steps)
