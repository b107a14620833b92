"""Every polynomial does on its interval what its entry says; options become the right tables."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ortho_kernels import coefficients as tables
from ortho_kernels.coefficients import BY_NAME, Polynomial, Triple, divide, expand
from ortho_kernels.options import PolarOptions, polar_options

NAMES = list(BY_NAME)


def run(triples: tuple[Triple, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    for a, b, c in triples:
        x = a * x + b * x**3 + c * x**5
    return x


def spectrum(polynomial: Polynomial, points: int = 4001) -> NDArray[np.float64]:
    low, high = polynomial.interval
    return np.geomspace(max(low, 1e-6), high, points)


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_complete(name: str) -> None:
    one = BY_NAME[name]
    assert one.name == name
    assert getattr(tables, name) is one
    assert one.source
    assert one.caveat
    assert one.triples
    assert all(len(triple) == 3 for triple in one.triples)
    assert 0 <= one.interval[0] < one.interval[1] == 1
    with pytest.raises(AttributeError):
        one.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "steps", "low", "high"),
    [
        ("keller_jordan", 5, 0.67, 1.21),
        ("you_jiacheng", 5, 0.97, 1.15),
        ("cans", 5, 0.88, 1.12),
        ("polar_express_5", 5, 0.85, 1.15),
        ("polar_express", 8, 1 - 1e-12, 1 + 1e-12),
        ("deepseek_v4", 10, 0.999, 1.003),
        ("cubic", 40, 1 - 1e-9, 1 + 1e-9),
        ("quintic", 28, 1 - 1e-9, 1 + 1e-9),
    ],
)
def test_where_the_interval_ends(name: str, steps: int, low: float, high: float) -> None:
    """What the caveats say."""
    one = BY_NAME[name]
    end = run(expand(one.triples, steps), spectrum(one))
    assert low <= end.min()
    assert end.max() <= high


@pytest.mark.parametrize(("name", "s0", "steps"), [("cubic", 1e-2, 14), ("cubic", 1e-4, 26)])
def test_cubic_takes_the_steps_its_caveat_says(name: str, s0: float, steps: int) -> None:
    triples = BY_NAME[name].triples
    assert abs(1 - run(expand(triples, steps), np.array([s0]))[0]) < 1e-3
    assert abs(1 - run(expand(triples, steps - 1), np.array([s0]))[0]) >= 1e-3


@pytest.mark.parametrize(("s0", "steps"), [(1e-2, 9), (1e-4, 17)])
def test_quintic_takes_the_steps_its_caveat_says(s0: float, steps: int) -> None:
    assert abs(1 - run(expand(tables.quintic.triples, steps), np.array([s0]))[0]) < 1e-3
    assert abs(1 - run(expand(tables.quintic.triples, steps - 1), np.array([s0]))[0]) >= 1e-3


def test_half_precision_needs_the_safety() -> None:
    """Rounding lifts x above an interval's top by up to an ulp of bfloat16, a step."""

    def largest(triples: tuple[Triple, ...]) -> float:
        x = np.geomspace(1e-3, 1, 2001)
        with np.errstate(over="ignore", invalid="ignore"):
            x = run(triples[:1], x)
            for triple in triples[1:]:
                x = run((triple,), x * (1 + 2.0**-7))
        return float(np.abs(np.nan_to_num(x, nan=np.inf)).max())

    plain = expand(tables.polar_express.triples, 8)
    assert largest(divide(plain, tables.polar_express.half_safety)) < 1.05
    assert largest(plain) > 1e3


def test_expand_and_divide() -> None:
    one, two = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    assert expand([one, two], 1) == (one,)
    assert expand([one, two], 4) == (one, two, two, two)
    assert divide([one, two], 2.0) == ((0.5, 0.25, 3 / 32), two)
    assert divide([one], 2.0) == (one,)


# ---- How a call's options become a table ---------------------------------------------------------


def resolve(method: str, **options: object) -> PolarOptions:
    return polar_options("polar", method, **options)  # type: ignore[arg-type]


def test_defaults() -> None:
    assert resolve("polar_express").coefficients == tables.polar_express.triples
    assert resolve("newton_schulz").coefficients == tables.keller_jordan.triples * 5
    assert resolve("newton_schulz", polynomial="cans").coefficients == tables.cans.triples
    assert len(resolve("newton_schulz", polynomial="cubic").coefficients) == 5
    assert len(resolve("polar_express", polynomial="cubic").coefficients) == 8
    assert len(resolve("newton_schulz", polynomial="deepseek_v4").coefficients) == 10


@pytest.mark.parametrize("steps", [1, 5, 8, 12])
def test_steps(steps: int) -> None:
    table = resolve("polar_express", steps=steps).coefficients
    assert table == expand(tables.polar_express.triples, steps)
    assert len(table) == steps


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_safety_is_for_half_precision_and_its_own_table(precision: str) -> None:
    for steps in (3, 8, 10):
        plain = resolve("polar_express", steps=steps)
        half = resolve("polar_express", steps=steps, precision=precision)
        assert half.coefficients == divide(plain.coefficients, 1.02)
        assert half.coefficients[-1] == plain.coefficients[-1]
        assert half.coefficients[:-1] != plain.coefficients[:-1]
    named = resolve("newton_schulz", polynomial="polar_express", precision=precision)
    assert named.coefficients == divide(tables.polar_express.triples, 1.02)
    for other in ({"polynomial": "polar_express_5"}, {"coefficients": (1.5, -0.5, 0.0) * 3}):
        half = resolve("polar_express", precision=precision, **other)
        assert half.coefficients == resolve("polar_express", **other).coefficients


def test_own_coefficients() -> None:
    assert resolve("newton_schulz", coefficients=(1.0, 2.0, 3.0)).coefficients == (
        ((1.0, 2.0, 3.0),) * 5
    )
    pair = resolve("polar_express", coefficients=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    assert pair.coefficients == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


def test_equal_options_are_one_object() -> None:
    """What the backends' caches rely on."""
    assert resolve("exact", rtol=0.1) is resolve("exact", rtol=0.1)
    assert resolve("exact", rtol=0.1) is not resolve("exact", rtol=0.2)
