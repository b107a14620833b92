"""What becomes of gradients that hold a NaN or an Inf."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import ortho_kernels as ok
from ortho_optim.gradients import dense, grad_of

if TYPE_CHECKING:
    from ortho_optim.gradients import Replaced

logger = logging.getLogger("ortho_optim")


def find(replaced: Replaced) -> list[Tensor]:
    """The parameters whose gradients, or what stands in for them, are not finite."""
    whole = replaced.whole
    standing = zip([*replaced.params, *whole.params], [*replaced.grads, *whole.grads], strict=True)
    bad = [param for param, grad in standing if grad is not None and not ok.all_finite([grad])]
    others = zip(replaced.others, dense(list(map(grad_of, replaced.others))), strict=True)
    return bad + [param for param, grad in others if not ok.all_finite([grad])]


def settle(
    replaced: Replaced,
    bad: Sequence[Tensor],
    names: Sequence[str],
    policy: str,
    skipped: Counter[str],
) -> None:
    """Go by the policy: "raise", "skip" (no gradient), or "zero"."""
    if bad and policy == "raise":
        raise RuntimeError(
            "orthogonalize: gradients must be finite, got NaN or Inf in those of "
            f"{', '.join(names)} (nonfinite='skip' or 'zero' goes on without them)"
        )
    places = [
        (one.grads, {id(param): i for i, param in enumerate(one.params)})
        for one in (replaced, replaced.whole)
    ]
    for param, name in zip(bad, names, strict=True):
        grad = torch.zeros_like(grad_of(param)) if policy == "zero" else None
        for grads, index in places:
            if id(param) in index:
                grads[index[id(param)]] = grad
                break
        else:
            replaced.others = [other for other in replaced.others if other is not param]
            replaced.stand_in(param, grad)
        skipped[name] += 1
        # The first, tenth, hundredth... time: a run that often overflows must not fill its log.
        count = skipped[name]
        level = logging.WARNING if count == 10 ** (len(str(count)) - 1) else logging.DEBUG
        what = "taken as zero" if policy == "zero" else "skipped"
        logger.log(level, "gradient of %s is not finite: %s (%d so far)", name, what, count)
