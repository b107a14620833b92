"""`TopEigenpair`: the top of the curvature from the gradients of training, and step sizes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ortho_optim.gradient_window import GradientWindow
from ortho_optim.step_size import StepSize

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

PER = ("model", "group", "tensor")


class TopEigenpair:
    """Power iteration on the last gradients (algorithm 5): one pass over them per step.

        pair = TopEigenpair(model.parameters(), window=250)
        handle = pair.attach(optimizer)                       # before each step of the optimiser
        pair.eigenvalue, pair.cosine, pair.topk(5)

    Gradients g = H r of displacements r with covariance sigma^2 I have the covariance
    sigma^2 H^2: the top eigenvector of the window is that of H, and `eigenvalue` is the largest
    |eigenvalue| of H. In training r is not isotropic and sigma is not known: then this is the
    dominant direction of the gradients, and its size (docs/ops/window.md).

    params   tensors, or groups of them as optimisers take them.
    window   how many gradients are kept: each is as large as the parameters, in `dtype` (float32 or
             bfloat16). `dim` keeps count-sketches of that many numbers instead, by `seed`.
    sigma    the size of the displacements.
    per      one pair for the "model", one per "group", or one per "tensor".

    parts       the pairs (`GradientWindow`), each with eigenvalue, cosine, vector(), topk(k), ...
    eigenvalue  of the part where it is largest, and `cosine` = |cos(g, v)| there.
    skipped     gradients that were not finite: they leave everything as it was.

    `update()` takes `p.grad` as it is before `optimizer.step()`; a parameter without one counts as
    zeros. It waits for the device, to know whether the gradient was finite.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        window: int = 250,
        *,
        sigma: float = 1.0,
        per: str = "model",
        dim: int | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        backend: str | None = None,
    ) -> None:
        if per not in PER:
            names = ", ".join(map(repr, PER))
            raise ValueError(f"TopEigenpair: per must be one of {names}, got {per!r}")
        if window < 1:
            raise ValueError(f"TopEigenpair: window must be >= 1, got {window}")
        groups = _groups(params)
        if per == "model":
            groups = [[p for group in groups for p in group]]
        elif per == "tensor":
            groups = [[p] for group in groups for p in group]
        self.parts = [
            GradientWindow(
                group, window, sigma=sigma, dim=dim, seed=seed, dtype=dtype, backend=backend
            )
            for group in groups
        ]

    @property
    def eigenvalue(self) -> float:
        return self._top.eigenvalue

    @property
    def cosine(self) -> float:
        return self._top.cosine

    @property
    def skipped(self) -> int:
        return sum(part.skipped for part in self.parts)

    @property
    def _top(self) -> GradientWindow:
        return max(self.parts, key=lambda part: part.eigenvalue)

    @torch.no_grad()
    def update(self) -> None:
        """Records the gradients. Once per step, before `optimizer.step()`."""
        for part in self.parts:
            part.update()

    @torch.no_grad()
    def vector(self) -> list[Tensor]:
        """The estimated eigenvectors, a tensor per parameter, of norm 1 in each part together."""
        return [piece for part in self.parts for piece in part.vector()]

    @torch.no_grad()
    def topk(self, k: int) -> Tensor:
        """The k largest eigenvalues of all parts' windows, the largest first; exact, by `eigh`."""
        values = torch.cat([part.topk(k).cpu() for part in self.parts])
        return values.sort(descending=True).values[:k]

    @torch.no_grad()
    def residual(self) -> float:
        """How far the top part's v is from an eigenvector of its window, 0 at one."""
        return self._top.residual()

    def attach(
        self,
        optimizer: Optimizer,
        step_size: str | Callable[[GradientWindow], float] | None = None,
        *,
        c: float = 1.0,
    ) -> RemovableHandle:
        """Calls `update()` before each `optimizer.step()`; `remove()` on what it returns ends that.

        step_size: bounds each group's learning rate during the step, and restores it afterwards, so
        that schedulers see their own. "eigenvalue": min(lr, c / eigenvalue); c = 2 is the thesis's
        form, on the edge of stability, where an estimate that is too small diverges. "projection":
        min(lr, 1 - cosine). Or a function of a `GradientWindow`. A group goes by the smallest bound
        among the parts that share parameters with it. The eigenvalue falls with the gradients, and
        the bound rises: docs/ops/window.md has a rule for runs longer than the window.

        The gradients must be there before the step, and unscaled: no closure that makes them, and
        `scaler.unscale_(optimizer)` before `scaler.step(optimizer)`.
        """
        return StepSize(self.parts, self.update, step_size, c).hook(optimizer)

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Of the same parameters and options; all is checked before anything changes."""
        parts = state["parts"]
        if len(parts) != len(self.parts):
            raise ValueError(
                f"TopEigenpair: state must have {len(self.parts)} parts, got {len(parts)}"
            )
        for own, theirs in zip(self.parts, parts, strict=True):
            own.check_state(theirs)
        for own, theirs in zip(self.parts, parts, strict=True):
            own.load_state_dict(theirs)


def _groups(params: Iterable[Tensor] | Iterable[dict[str, Any]]) -> list[list[Tensor]]:
    every = list(params)
    groups = [one for one in every if isinstance(one, dict)]
    if groups and len(groups) < len(every):
        raise TypeError("TopEigenpair: params must be tensors or groups, got both")
    lists: list[Any] = [group["params"] for group in groups] if groups else [every]
    found = [[one] if isinstance(one, Tensor) else list(one) for one in lists]
    found = [[p for p in group if p.requires_grad] for group in found]
    found = [group for group in found if group]
    if not found:
        raise ValueError("TopEigenpair: params must hold a tensor that requires grad, got none")
    seen: set[int] = set()
    for p in (p for group in found for p in group):
        if id(p) in seen:
            raise ValueError("TopEigenpair: params must be distinct, got one of them twice")
        seen.add(id(p))
    return found
