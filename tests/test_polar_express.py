"""Tables of Polar Express for any interval: each step is the closest quintic, the whole ends where
it is said to, and the published tables come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ortho_kernels.coefficients import BY_NAME, Triple, polar_express_error, polar_express_table
from ortho_kernels.polar_express import CUSHION, SAFETY

Array = NDArray[np.float64]
EPS = 2.0**-52
LOWER_BOUNDS = [10.0**-e for e in range(1, 8)]
STEPS = range(1, 13)


def step(triple: Triple, x: Array | float) -> Array:
    a, b, c = triple
    return np.asarray(x) * (a + b * np.square(x) + c * np.square(x) ** 2)


def run(triples: Sequence[Triple], x: Array | float) -> Array:
    for triple in triples:
        x = step(triple, x)
    return np.asarray(x)


def rounding(triples: Sequence[Triple], x: Array | float) -> Array:
    """What x may be off by after these steps: each magnifies it by its slope there, and adds 16 eps
    of its terms, for a dozen operations in the step and as many in the making of its triple."""
    x = np.asarray(x)
    bound = np.zeros(x.shape)
    for a, b, c in triples:
        bound *= np.abs(a + 3 * b * x**2 + 5 * c * x**4)
        bound += 16 * EPS * (np.abs(a * x) + np.abs(b * x**3) + np.abs(c * x**5))
        x = step((a, b, c), x)
    return bound


def extremes(triple: Triple) -> Array:
    """Where the derivative is zero: q and r."""
    a, b, c = triple
    root = np.sqrt(9 * b * b - 20 * a * c)
    return np.sqrt([(-3 * b - root) / (10 * c), (-3 * b + root) / (10 * c)])


def intervals(low: float, triples: Sequence[Triple]) -> list[tuple[float, float]]:
    """What each step is made for: from the fate of the lower bound to its mirror in 1."""
    found = [(low, 1.0)]
    for triple in triples:
        low = float(step(triple, low))
        found.append((low, 2 - low))
    return found


# ---- One step ------------------------------------------------------------------------------------


def remez(low: Decimal, high: Decimal) -> tuple[list[Decimal], Decimal]:
    """The closest odd quintic and its error by exchange of extremes, in the context's digits."""
    inner = [(3 * low + high) / 4, (low + 3 * high) / 4]
    previous = None
    while True:
        points = [low, *inner, high]
        rows = [[x, x**3, x**5, Decimal((-1) ** i), Decimal(1)] for i, x in enumerate(points)]
        for i in range(4):  # Gauss and Jordan
            pivot = max(range(i, 4), key=lambda j: abs(rows[j][i]))
            rows[i], rows[pivot] = rows[pivot], rows[i]
            rows[i] = [value / rows[i][i] for value in rows[i]]
            for j in range(4):
                if j != i:
                    factor = rows[j][i]
                    rows[j] = [x - factor * y for x, y in zip(rows[j], rows[i], strict=True)]
        a, b, c, error = (row[4] for row in rows)
        if previous is not None and abs(error - previous) < Decimal(10) ** -60:
            return [a, b, c], abs(error)
        previous = error
        root = (9 * b * b - 20 * a * c).sqrt()
        inner = [((-3 * b - root) / (10 * c)).sqrt(), ((-3 * b + root) / (10 * c)).sqrt()]


@pytest.mark.parametrize(
    "low", [1e-12, 1e-3, CUSHION, 0.1, 0.5, 0.9, 0.99, 0.999, 1 - 1e-6, 1 - 1e-9]
)
def test_a_step_is_that_of_a_remez_in_ninety_digits(low: float) -> None:
    """To the last digits, also where the error of the quintic is far below rounding."""
    with localcontext() as context:
        context.prec = 90
        expected, error = remez(Decimal(low), Decimal(1))
    (triple,) = polar_express_table(low, 1, cushion=0)
    assert triple == pytest.approx([float(value) for value in expected], rel=20 * EPS, abs=0)
    slack = EPS + float(rounding([triple], low))
    assert polar_express_error(low, 1, cushion=0) == pytest.approx(float(error), abs=slack)


@pytest.mark.parametrize("low", LOWER_BOUNDS)
def test_every_step_attains_its_error_at_four_points_with_changing_sign(low: float) -> None:
    table = polar_express_table(low, 12, safety=1, cushion=0)
    for triple, (l, u) in zip(table, intervals(low, table), strict=False):  # noqa: E741
        error = 1 - float(step(triple, l))
        slack = float(rounding([triple], u))
        if error < 1e3 * slack:
            break  # converged: from here on there are no extremes to be told from rounding
        q, r = extremes(triple)
        assert l < q < r < u
        height = 1 - step(triple, np.array([l, q, r, u]))
        assert height == pytest.approx(error * np.array([1, -1, 1, -1]), abs=slack)
    else:
        assert low < 1e-6  # all others converge


def test_a_cushioned_step_is_centred_on_the_true_interval() -> None:
    (triple,) = polar_express_table(1e-4, 1)
    a, b, c = polar_express_table(CUSHION, 1)[0]
    assert np.array(triple) / triple[0] == pytest.approx(
        np.array([a, b, c]) / a, rel=20 * EPS, abs=0
    )
    middle = (step(triple, 1e-4) + step(triple, 1.0)) / 2
    assert middle == pytest.approx(1, abs=float(rounding([triple], 1.0)))


def test_the_cushion_keeps_dips_at_a_tenth_of_the_peaks() -> None:
    """Exactly so: what the paper's number is, and what a table without it does not keep."""
    for low, tenth in ((CUSHION, True), (1e-3, True), (1e-5, True), (0.1, False)):
        (triple,) = polar_express_table(low, 1)
        peak, dip = step(triple, extremes(triple))
        assert bool(dip / peak == pytest.approx(0.1, rel=1e-12, abs=0)) is tenth
        assert dip / peak >= 0.1 * (1 - 1e-12)
    (bare,) = polar_express_table(1e-3, 1, cushion=0)
    peak, dip = step(bare, extremes(bare))
    assert dip / peak < 0.005


@pytest.mark.parametrize("low", [0.9, 0.3, 1e-1, 1e-2, 1e-3, 1e-5])
def test_no_perturbed_quintic_is_closer(low: float, rng: np.random.Generator) -> None:
    (triple,) = polar_express_table(low, 1, cushion=0)
    error = polar_express_error(low, 1, cushion=0)
    # The four points alone condemn any other: no grid is needed, and none can miss a peak.
    points = np.array([low, *extremes(triple), 1.0])
    for size in np.geomspace(1e-6, 1, 300):
        other = np.array(triple) + size * rng.normal(size=3)
        assert np.abs(1 - step(tuple(other), points)).max() > error


@pytest.mark.parametrize("steps", [2, 3])
def test_no_perturbed_composition_is_closer(steps: int, rng: np.random.Generator) -> None:
    """The greedy choice is the best for the whole."""
    low = 10.0 ** rng.uniform(-3, -0.5)
    table = polar_express_table(low, steps, safety=1, cushion=0)
    error = polar_express_error(low, steps, safety=1, cushion=0)
    x = np.geomspace(low, 1, 20001)
    for size in np.geomspace(1e-3, 1, 300):
        other = np.array(table) * (1 + size * rng.normal(size=(steps, 3)))
        # The grid misses a peak by less than 1e-5 of its height; 1e-3 of change shows above it.
        assert np.abs(1 - run([tuple(row) for row in other], x)).max() > error * (1 - 1e-5)


# ---- The whole table -----------------------------------------------------------------------------


def spectrum(rng: np.random.Generator, low: float, size: int = 5000) -> Array:
    """Fresh singular values between a bound and 1, in every decade, and the ends."""
    return np.concatenate([[low, 1.0], low ** rng.uniform(0, 1, size), rng.uniform(low, 1, size)])


@pytest.mark.parametrize("safety", [1.0, SAFETY, 1.02])
@pytest.mark.parametrize("low", LOWER_BOUNDS)
def test_it_ends_where_it_says(low: float, safety: float, rng: np.random.Generator) -> None:
    x = spectrum(rng, low)
    for steps in STEPS:
        table = polar_express_table(low, steps, safety=safety)
        error = polar_express_error(low, steps, safety=safety)
        assert len(table) == steps
        distance, slack = np.abs(1 - run(table, x)), rounding(table, x)
        # Few x come near an interval's top again and again, where each step is at its steepest.
        known = slack < 1e-6
        assert known.mean() > 0.99
        assert np.median(slack) < 1e-10
        assert (distance <= error + slack)[known].all()
        assert distance[0] == pytest.approx(error, abs=slack[0])  # attained, at the lower bound


@pytest.mark.parametrize("low", [1.0, 0.7, *LOWER_BOUNDS])
def test_every_step_helps_until_rounding(low: float) -> None:
    # A safety s leaves a last step to do, on [1 - d, 1 + d] with d ~ (s - 1)^3, and it leaves d^3.
    for safety, floor in ((1.0, 8 * EPS), (SAFETY, 8 * EPS), (1.02, 40 * EPS)):
        errors = [polar_express_error(low, steps, safety=safety) for steps in range(1, 20)]
        for before, after in pairwise(errors):
            assert after < before or after <= floor
        assert errors[-1] <= floor


def test_a_lower_bound_costs_more_and_a_cushion_little() -> None:
    for steps in STEPS:
        errors = [polar_express_error(low, steps) for low in (0.5, *LOWER_BOUNDS)]
        assert all(a < b or b <= 8 * EPS for a, b in pairwise(errors))
        for low in LOWER_BOUNDS:
            closest = polar_express_error(low, steps, safety=1, cushion=0)
            assert closest <= polar_express_error(low, steps) + 8 * EPS
            assert polar_express_error(low, steps + 1) <= closest + 8 * EPS


@given(
    low=st.floats(1e-4, 1),
    steps=st.integers(1, 16),
    safety=st.floats(1.001, 1.3),
    cushion=st.floats(0, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_rounding_up_to_the_safety_stays_inside(
    low: float, steps: int, safety: float, cushion: float, seed: int
) -> None:
    """Whatever the arguments: a factor from 1 to the safety, before every step but the last."""
    rng = np.random.default_rng(seed)
    table = polar_express_table(low, steps, safety=safety, cushion=cushion)
    error = polar_express_error(low, steps, safety=safety, cushion=cushion)
    x = spectrum(rng, low, 300)
    slack = 0.0
    for i, (triple, (l, u)) in enumerate(zip(table, intervals(low, table), strict=False)):  # noqa: E741
        assert l - slack <= x.min()
        assert x.max() <= u + slack
        if i < steps - 1:
            x = x * rng.uniform(1, safety * (1 - 1e-6), x.size)
            x[:2] = l, u * safety * (1 - 1e-6)  # the worst there is at both ends
        a, b, c = triple
        slack = (a + 3 * b * l**2 + 5 * c * l**4) * slack + float(rounding([triple], u))
        x = step(triple, x)
    # Undivided, the last step is not safe from what rose above its interval: nothing did.
    assert np.abs(1 - x).max() <= error + 24 * slack


# ---- The published tables ------------------------------------------------------------------------


def digits(ours: Sequence[Triple], published: Sequence[Triple]) -> Array:
    """The relative difference, step by step."""
    return np.abs(np.array(ours) / np.array(published) - 1).max(axis=1)


def test_the_table_of_the_paper() -> None:
    """Fourteen digits, except step 7: there the published one is off by the rounding of its own
    linear system, as ninety digits show."""
    published = BY_NAME["polar_express"].triples
    ours = polar_express_table(1e-3, 8, safety=1)
    difference = digits(ours, published)
    assert np.delete(difference, 6).max() < 20 * EPS
    assert 1e-12 < difference[6] < 1e-10
    low, high = intervals(1e-3, ours)[6]
    with localcontext() as context:
        context.prec = 90
        truth, _ = remez(Decimal(low), Decimal(high))
    assert ours[6] == pytest.approx([float(value) for value in truth], rel=20 * EPS, abs=0)


def test_the_table_of_dion() -> None:
    """Fourteen digits; their arguments are a cushion of 0.02 and a safety of 1.02."""
    ours = polar_express_table(1e-3, 5, safety=1.02, cushion=0.02)
    assert digits(ours, BY_NAME["polar_express_5"].triples).max() < 40 * EPS


def test_the_table_of_cans() -> None:
    """The four decimals it was printed with: it is the closest composition, without a cushion."""
    ours = polar_express_table(1e-3, 5, safety=1, cushion=0)
    assert np.round(ours, 4) == pytest.approx(np.array(BY_NAME["cans"].triples), abs=1e-12)


def test_the_classical_step_is_the_limit() -> None:
    (classical,) = BY_NAME["quintic"].triples
    for low, steps in ((1, 1), (1, 4), (1e-3, 12)):
        last = polar_express_table(low, steps)[-1]
        assert last == pytest.approx(classical, rel=20 * EPS, abs=0)
