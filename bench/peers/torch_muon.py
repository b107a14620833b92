"""torch.optim.Muon: its own function in bfloat16, and its polynomial in float32, batched by shape.

On processors without bfloat16 units torch's products in that type are emulated, thirty times slower
than float32 ones; the batched float32 form is what a careful user would write there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim._muon import DEFAULT_NS_STEPS, EPS, _zeropower_via_newtonschulz

from bench.contender import Contender, per_matrix, polynomial_operations, polynomial_promise
from bench.peers.by_shape import by_shape
from bench.truth import polynomial
from ortho_kernels import coefficients

(TRIPLE,) = coefficients.keller_jordan.triples
STEPS = DEFAULT_NS_STEPS


def own(matrix: Tensor) -> Tensor:
    return _zeropower_via_newtonschulz(matrix, TRIPLE, STEPS, EPS)


def in_float32(x: Tensor) -> Tensor:
    """The same in the input's precision, for (m, n) or a stack (k, m, n)."""
    a, b, c = TRIPLE
    add_product = torch.addmm if x.ndim == 2 else torch.baddbmm
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    # Row by row, because torch's float32 norm of 2^24 numbers at once is 6.5e-4 off on a CPU.
    norm = x.norm(dim=-1, keepdim=True).norm(dim=-2, keepdim=True)
    x = x / norm.clamp(min=EPS)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = add_product(x, add_product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def contenders() -> Sequence[Contender]:
    table = (TRIPLE,) * STEPS
    operations = polynomial_operations(STEPS)
    return (
        Contender(
            "torch.optim.Muon's, bf16",
            polynomial_promise(polynomial(table), "bfloat16"),
            per_matrix(own),
            operations=operations,
        ),
        Contender(
            "Muon's polynomial, f32, by shape",
            polynomial_promise(polynomial(table)),
            by_shape(in_float32),
            operations=operations,
        ),
    )
