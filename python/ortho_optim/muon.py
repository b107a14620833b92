"""Muon: momentum first, then the factor by five polynomial steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ortho_optim.gradients import evaluate
from ortho_optim.momentum import apply, ema
from ortho_optim.orthogonalized import Orthogonalized
from ortho_optim.settings import Options, check_numbers

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT
    from typing_extensions import Unpack


class AveragedSGD(Optimizer):
    """What is left of Muon without the factor: an averaged gradient, and decoupled decay."""

    _direction = staticmethod(ema)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        maximize: bool,
    ) -> None:
        check_numbers("Muon", lr=lr, weight_decay=weight_decay, momentum=momentum)
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "maximize": maximize,
            "decoupled_weight_decay": True,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # a checkpoint of torch.optim.Muon has neither
            group.setdefault("maximize", False)
            group.setdefault("decoupled_weight_decay", True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = evaluate(closure)
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if params:
                grads: list[Any] = [param.grad for param in params]
                directions = ema(self.state, group, params, grads, True)
                apply(group, params, [one.clone() for one in directions], True)
        return loss


class Muon(Orthogonalized, AveragedSGD):
    """Momentum, then five Newton-Schulz steps by `keller_jordan` in float32, then the update.

    K. Jordan et al., https://kellerjordan.github.io/posts/muon/. Takes weights of any dimensions,
    convolutions flattened from dimension 1; `split(model, Muon)` puts what is no such weight on
    AdamW. The options are `orthogonalize`'s; `scale` is its rule for the learning rate.
    """

    presets: ClassVar[Options] = {
        "placement": "update",
        "method": "newton_schulz",
        "scale": "muon",
        "layers": "any",
    }

    def __init__(
        self,
        params: ParamsT | nn.Module,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        *,
        maximize: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(params, lr, weight_decay, momentum, nesterov, maximize, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; every parameter must be one that can be orthogonalised."""
        super().add_param_group(param_group)
        decided = [self._selection.decisions[p] for p in self.param_groups[-1]["params"]]
        left = [decision.name for decision in decided if not decision.selected]
        if left:
            self.param_groups.pop()
            raise ValueError(
                "Muon: parameters must be weights that it orthogonalizes, got "
                f"{', '.join(left)} (ortho_optim.split(model, Muon) puts others on AdamW)"
            )
