"""Every polynomial by name, with its source and the interval it is made for.

A step maps each singular value x to a x + b x^3 + c x^5, on a matrix divided by its Frobenius
norm, so that all singular values start in [0, 1]. None of these is exact: what starts far below the
interval ends below 1, and zero stays zero. `polar_express_table` computes a table for any interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ortho_kernels.polar_express import Triple as Triple
from ortho_kernels.polar_express import polar_express_error as polar_express_error
from ortho_kernels.polar_express import polar_express_table as polar_express_table


@dataclass(frozen=True)
class Polynomial:
    """A named table of steps; shorter than the steps asked for, it repeats its last triple."""

    name: str
    triples: tuple[Triple, ...]
    source: str
    # The singular values, relative to the Frobenius norm, that the whole table is made for.
    interval: tuple[float, float]
    caveat: str
    # A half-precision run divides every step but the last by this: x then stays inside the interval
    # where rounding would carry it above, from where the next step would throw it further out.
    half_safety: float = 1.0


keller_jordan = Polynomial(
    name="keller_jordan",
    triples=((3.4445, -4.7750, 2.0315),),
    source="KellerJordan/Muon",
    interval=(1.5e-3, 1.0),
    caveat="does not converge: five steps end between 0.67 and 1.21, and more do not help",
)
deepseek_v4 = Polynomial(
    name="deepseek_v4",
    triples=((3.4445, -4.7750, 2.0315),) * 8 + ((2.0, -1.5, 0.5),) * 2,
    source="DeepSeek-V4: eight steps of keller_jordan, then two that contract to 1",
    interval=(3e-5, 1.0),
    caveat="ten steps, which end between 0.999 and 1.003",
)
cubic = Polynomial(
    name="cubic",
    triples=((1.5, -0.5, 0.0),),
    source="Newton-Schulz, the classical third-order step",
    interval=(0.0, 1.0),
    caveat="grows a small singular value by 1.5 a step only: 14 steps from 1e-2, 26 from 1e-4",
)
quintic = Polynomial(
    name="quintic",
    triples=((1.875, -1.25, 0.375),),
    source="Newton-Schulz, the classical fifth-order step",
    interval=(0.0, 1.0),
    caveat="grows a small singular value by 1.875 a step only: 9 steps from 1e-2, 17 from 1e-4",
)
you_jiacheng = Polynomial(
    name="you_jiacheng",
    triples=(
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
    source="YouJiacheng, in the nanogpt speed runs",
    interval=(3e-3, 1.0),
    caveat="five steps, which end between 0.97 and 1.15; not a sequence to extend",
)
polar_express = Polynomial(
    name="polar_express",
    triples=(
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
        (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
        (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
        (1.875, -1.25, 0.375),
    ),
    source="Polar Express, arXiv 2505.16932: minimax step by step from [1e-3, 1]",
    interval=(1e-3, 1.0),
    caveat="diverges in half precision unless divided by its safety factor",
    half_safety=1.02,
)
polar_express_5 = Polynomial(
    name="polar_express_5",
    triples=(
        (8.156554524902461, -22.48329292557795, 15.878769915207462),
        (4.042929935166739, -2.808917465908714, 0.5000178451051316),
        (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
        (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
        (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
    ),
    source="microsoft/dion and modded-nanogpt: five steps of Polar Express with safety 1.02 inside",
    interval=(1e-3, 1.0),
    caveat="five steps, which end between 0.85 and 1.15; not a sequence to extend",
)
cans = Polynomial(
    name="cans",
    triples=(
        (8.4703, -25.1081, 18.6293),
        (4.1828, -3.1087, 0.5806),
        (3.9619, -2.9541, 0.5630),
        (3.2866, -2.4647, 0.5074),
        (2.2737, -1.6447, 0.4162),
    ),
    source="CANS: Chebyshev-type acceleration of Newton-Schulz",
    interval=(1e-3, 1.0),
    caveat="five steps, which end between 0.88 and 1.12; takes 0.82 of the norm down to 0.009 "
    "first, so that rounding is magnified a thousandfold there",
)

BY_NAME = {
    polynomial.name: polynomial
    for polynomial in (
        keller_jordan,
        deepseek_v4,
        cubic,
        quintic,
        you_jiacheng,
        polar_express,
        polar_express_5,
        cans,
    )
}


def expand(triples: Sequence[Triple], steps: int) -> tuple[Triple, ...]:
    """The table for `steps` steps: cut short, or with its last triple repeated."""
    return tuple(triples[min(step, len(triples) - 1)] for step in range(steps))


def divide(triples: Sequence[Triple], safety: float) -> tuple[Triple, ...]:
    """Every step on x / safety; the last stays as it is, so that the result still ends at 1."""
    scaled = ((a / safety, b / safety**3, c / safety**5) for a, b, c in triples[:-1])
    return (*scaled, *triples[-1:])
