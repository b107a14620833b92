"""optax.contrib.muon: its own orthogonalisation in float32, the model in one compiled call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from optax.contrib._muon import orthogonalize_via_newton_schulz

from bench.contender import Contender, polynomial_operations, polynomial_promise
from bench.peers.jax_polar import compiled
from bench.truth import polynomial
from ortho_kernels import coefficients

STEPS = 5
(TRIPLE,) = coefficients.keller_jordan.triples


def factor(array: Any) -> Any:
    return orthogonalize_via_newton_schulz(array, jnp.asarray(TRIPLE), STEPS)


def contenders() -> Sequence[Contender]:
    return (
        Contender(
            "optax muon, float32, jit",
            polynomial_promise(polynomial((TRIPLE,) * STEPS)),
            compiled(factor),
            operations=polynomial_operations(STEPS),
        ),
    )
