"""gram-newton-schulz: its torch path, in float16 as its authors fixed it, one matrix at a time.

Its fast kernels need an NVIDIA card. Batches help its small matrices a little, but one matrix at a
time it can be stopped on a processor where float16 products are emulated.
"""

from __future__ import annotations

from collections.abc import Sequence

from gram_newton_schulz import POLAR_EXPRESS_COEFFICIENTS, GramNewtonSchulz

from bench.contender import Contender, per_matrix, polynomial_promise
from bench.truth import polynomial


def contenders() -> Sequence[Contender]:
    factor = GramNewtonSchulz(ns_use_kernels=False, compile_kwargs=None)
    promise = polynomial_promise(polynomial(POLAR_EXPRESS_COEFFICIENTS), "float16")
    return (Contender("gram-newton-schulz, fp16", promise, per_matrix(factor)),)
