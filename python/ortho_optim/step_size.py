"""Learning rates bounded by what a window of gradients says, for the time of one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ortho_optim.gradient_window import GradientWindow

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

Rule = Callable[[GradientWindow], float]


def rule_for(step_size: str | Rule | None, c: float) -> Rule | None:
    if step_size is None or callable(step_size):
        return step_size
    if not 0 < c < math.inf:
        raise ValueError(f"TopEigenpair: c must be finite and > 0, got {c}")
    if step_size == "eigenvalue":
        return lambda part: c / part.eigenvalue if part.eigenvalue > 0 else math.inf
    if step_size == "projection":
        return lambda part: max(0.0, 1 - part.cosine) if part.steps > 0 else math.inf
    raise ValueError(
        "TopEigenpair: step_size must be None, 'eigenvalue', 'projection' or a function, "
        f"got {step_size!r}"
    )


class StepSize:
    """The hooks around a step: update, bound the rates; put back what they were."""

    def __init__(
        self,
        parts: Sequence[GradientWindow],
        update: Callable[[], None],
        step_size: str | Rule | None,
        c: float,
    ) -> None:
        self._parts, self._update = parts, update
        self._rule = rule_for(step_size, c)
        self._bounded: list[tuple[dict[str, Any], Any, Any]] = []  # group, its own rate, ours

    def hook(self, optimizer: Optimizer) -> RemovableHandle:
        before = optimizer.register_step_pre_hook(self._before)
        after = optimizer.register_step_post_hook(self._after)
        return _Both(before, after)  # type: ignore[return-value]

    @torch.no_grad()
    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._restore()  # what a step that raised has left
        if getattr(optimizer, "grad_scale", None) is not None:
            raise RuntimeError(
                "TopEigenpair: gradients must come unscaled, got a grad_scale on the optimizer "
                "(call scaler.unscale_(optimizer) before scaler.step(optimizer))"
            )
        self._update()
        if self._rule is None:
            return
        bounds: dict[int, float] = {}
        for part in self._parts:
            bounds.update(dict.fromkeys(map(id, part.params), self._rule(part)))
        for group in optimizer.param_groups:
            bound = min((bounds.get(id(p), math.inf) for p in group["params"]), default=math.inf)
            if bound < float(group["lr"]):
                own = _copy(group["lr"])
                _set(group, bound)
                self._bounded.append((group, own, _copy(group["lr"])))

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._restore()

    def _restore(self) -> None:
        for group, own, ours in self._bounded:
            if group["lr"] == ours:  # whoever has set another rate meanwhile meant it
                _set(group, own)
        self._bounded.clear()


class _Both:
    def __init__(self, *handles: RemovableHandle) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def _copy(rate: Any) -> Any:
    return rate.clone() if isinstance(rate, Tensor) else rate


def _set(group: dict[str, Any], rate: Any) -> None:
    """In place where the rate is a tensor, which captured graphs hold."""
    if isinstance(group["lr"], Tensor):
        group["lr"].copy_(torch.as_tensor(rate))
    else:
        group["lr"] = rate
