"""LARS, which torch does not have, and Orthogonal-LARS.

    r = trust |w| / (|g| + decay |w| + eps)         1 where |w| or |g| is 0
    v <- momentum v + r (g + decay w)
    w <- w - lr v

You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", arXiv 1708.03888. The paper
puts the learning rate into v; here it stays outside, as in torch's SGD, so that a schedule acts
on the whole velocity. Biases and norms (fewer than two dimensions) take r = 1, as is usual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ortho_optim.gradients import evaluate
from ortho_optim.momentum import scalar
from ortho_optim.orthogonalized import Orthogonalized
from ortho_optim.settings import check_numbers

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling; waits for no device."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        eps: float = 1e-8,
        *,
        nesterov: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        numbers = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eps": eps}
        check_numbers("LARS", **numbers, trust=trust)
        if nesterov and momentum == 0:
            raise ValueError("LARS: nesterov must have a momentum > 0, got 0")
        flags = {"nesterov": nesterov, "maximize": maximize, "foreach": foreach}
        super().__init__(params, {**numbers, "trust": trust, **flags})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = evaluate(closure)
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            together = group["foreach"] is not False
            for some in [params] if together and params else [[param] for param in params]:
                self._update(group, some)
        return loss

    def _update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        grads: list[Any] = [param.grad for param in params]
        if any(grad.layout is not torch.strided for grad in grads):
            raise TypeError("LARS: gradients must be dense, got a sparse one")
        weight_norms, grad_norms = torch._foreach_norm(params), torch._foreach_norm(grads)
        decay = group["weight_decay"]
        sign = -1.0 if group["maximize"] else 1.0
        ratios = [
            _ratio(w, g, decay, group) if param.ndim >= 2 else torch.ones_like(g)
            for param, w, g in zip(params, weight_norms, grad_norms, strict=True)
        ]
        steps = torch._foreach_mul(grads, sign)
        if decay != 0:
            torch._foreach_add_(steps, params, alpha=decay)
        torch._foreach_mul_(steps, ratios)
        if group["momentum"] != 0:
            for param in params:
                if "momentum_buffer" not in self.state[param]:
                    self.state[param]["momentum_buffer"] = torch.zeros_like(param)
            buffers = [self.state[param]["momentum_buffer"] for param in params]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, steps)
            if group["nesterov"]:
                torch._foreach_add_(steps, buffers, alpha=group["momentum"])
            else:
                steps = tuple(buffers)
        torch._foreach_add_(params, torch._foreach_mul(steps, scalar(-group["lr"])))


def _ratio(weight: Tensor, grad: Tensor, decay: float, group: dict[str, Any]) -> Tensor:
    ratio = group["trust"] * weight / (grad + decay * weight + group["eps"])
    return torch.where((weight > 0) & (grad > 0), ratio, torch.ones_like(ratio))


class OrthogonalLARS(Orthogonalized, LARS):
    """`LARS` on polar factors. Their norm is constant, so r is a schedule on the weights' norm."""
