"""Muon: momentum first, then the factor by five polynomial steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ortho_optim.gradients import evaluate
from ortho_optim.momentum import apply, ema
from ortho_optim.orthogonalized import Orthogonalized
from ortho_optim.scales import scale_rule
from ortho_optim.settings import Options, check_numbers

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT
    from typing_extensions import Unpack


# torch.optim.Muon's `adjust_lr_fn`, as rules of ours, and its default polynomial.
_SCALES = {
    None: "muon",
    "original": "muon",
    "match_rms_adamw": "match_rms_adamw",
    "spectral_unclamped": "spectral",
}
_KELLER_JORDAN = (3.4445, -4.7750, 2.0315)  # https://kellerjordan.github.io/posts/muon/


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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's; warns where a checkpoint of torch.optim.Muon was made by other options.

        Those (`ns_coefficients`, `ns_steps`, `adjust_lr_fn`) are the constructor's here, and are
        not read.
        """
        super().load_state_dict(state_dict)
        others = {word for group in self.param_groups for word in self._other_options(group)}
        if others:
            warnings.warn(
                f"Muon: the checkpoint was made with {', '.join(sorted(others))}, which this "
                "optimizer was not given and does not read: pass them to its constructor",
                stacklevel=2,
            )

    def _other_options(self, group: dict[str, Any]) -> list[str]:
        """What torch's own Muon left in a group and this one does otherwise."""
        maker = self._settings.make_factors
        triples = maker.polar.get("coefficients", "keller_jordan")
        if triples == "keller_jordan":
            triples = [_KELLER_JORDAN]
        ours = {"ns_steps": maker.polar.get("steps", 5), "ns_coefficients": triples}
        theirs = {
            "ns_steps": group.get("ns_steps"),
            "ns_coefficients": [tuple(group.get("ns_coefficients", ()))],
        }
        found = [
            f"{name}={group[name]!r}"
            for name in ours
            if name in group and theirs[name] != ours[name]
        ]
        rule = group.get("adjust_lr_fn")
        known = rule in _SCALES and scale_rule(_SCALES[rule]) is maker.scale
        if "adjust_lr_fn" in group and not known:
            found.append(f"adjust_lr_fn={rule!r}")
        return found

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
