"""Algorithm 6: the base optimiser's own step, on polar factors in place of gradients."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import ortho_kernels as ok
from ortho_optim.gradients import all_finite, clip, grad_of, is_finite, with_layout
from ortho_optim.settings import Options, Settings, make_selection, take_options

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

    from ortho_optim.selection import Selection

logger = logging.getLogger("ortho_optim")


class Orthogonalized(Optimizer):
    """Put before a torch optimiser among a class's bases, it orthogonalises what that one steps on.

    The state, the parameter groups and the state_dict are the base's own, so checkpoints go both
    ways. During the base's step `p.grad` is the polar factor; before and after, to hooks, to the
    closure and to the training loop, it is the raw gradient, the same tensor with the same bits.

    Made by `orthogonalize`, or as in `class OrthogonalSGD(Orthogonalized, torch.optim.SGD)`.
    """

    presets: ClassVar[Options] = {}
    """Options that a class fixes in place of the defaults."""

    skipped: Counter[str]
    """How often each parameter's gradient was not finite and went by nonfinite="skip" or "zero"."""

    _settings: Settings
    _selection: Selection

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        closure = signature(super().step).parameters.get("closure")
        if closure is not None and closure.default is Parameter.empty:
            raise TypeError(
                "orthogonalize: optimizer must take a step without a closure, got "
                f"{_base_name(cls)}, which evaluates its closure several times a step"
            )

    def __init__(self, params: ParamsT | nn.Module, *args: Any, **keywords: Any) -> None:
        taken = signature(super().__init__).parameters.keys() & Options.__optional_keys__
        if taken:
            raise TypeError(
                "orthogonalize: optimizer must not have keywords of ours, got "
                f"{_base_name(type(self))} with {', '.join(sorted(taken))} (an instance of it can "
                "be orthogonalized)"
            )
        options = self.presets | take_options(keywords)
        if isinstance(params, nn.Module):
            if options.get("model") not in (None, params):
                raise ValueError("orthogonalize: model must be given once, got two different ones")
            options["model"] = params
            params = list(params.parameters())
        self._install(Settings.of(options), make_selection(options))
        super().__init__(params, *args, **keywords)
        self._selection.check()

    def _install(self, settings: Settings, selection: Selection) -> None:
        self._settings = settings
        self._selection = selection
        self.skipped = Counter()

    @property
    def orthogonalized(self) -> list[str]:
        """The names of the parameters whose gradients are orthogonalised."""
        return self._selection.names

    # A fused base tells GradScaler that its step divides by the scale itself. That would come after
    # the orthogonalisation and divide the polar factor, so ours never says so and GradScaler
    # unscales first. A property, because the base's constructor sets the attribute on the instance.
    @property
    def _step_supports_amp_scaling(self) -> bool:
        return False

    @_step_supports_amp_scaling.setter
    def _step_supports_amp_scaling(self, value: bool) -> None:
        pass

    # ---- the step -------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None, **keywords: Any) -> float | None:  # type: ignore[override]
        """One step of the base optimiser on orthogonalised gradients; returns the closure's value.

        The closure runs here, before anything else: a base optimiser runs it inside its own step,
        where it would put raw gradients back.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        raw = self._exchange_gradients()
        try:
            returned: float | None = self._base_step(**keywords)
        finally:
            for param, grad in raw:
                param.grad = grad
        return returned if closure is None else loss

    def _base_step(self, **keywords: Any) -> Any:
        # torch wraps the step of every optimiser class to run the user's hooks around it. Ours is
        # wrapped too, so the base's wrapper is left out: hooks run once, and see raw gradients.
        function = super().step.__func__  # type: ignore[attr-defined]
        if getattr(function, "hooked", False):
            function = function.__wrapped__
        return function(self, **keywords)

    def _exchange_gradients(self) -> list[tuple[Tensor, Tensor | None]]:
        """Put into p.grad what the base steps on; returns what was there before.

        Everything that can fail comes before the first exchange.
        """
        matrices, grads, others, rest = self._gradients()
        polar = ok.polar_foreach(grads, **self._settings.polar)
        if callable(self._settings.polar.get("view")):
            polar = [with_layout(o, grad) for o, grad in zip(polar, grads, strict=True)]
        new: dict[Tensor, Tensor | None] = dict(zip(matrices, polar, strict=True))
        if not all_finite(polar, rest):
            self._handle_nonfinite(new, others)
        if self._settings.max_norm is not None:
            clip(new, others, self._settings.max_norm)
        raw = []
        for param, grad in new.items():
            raw.append((param, param.grad))
            param.grad = grad
        return raw

    def _gradients(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Parameters with their gradients: those to be orthogonalised, then the others."""
        if getattr(self, "grad_scale", None) is not None:
            raise RuntimeError(
                "orthogonalize: gradients must come unscaled, got a grad_scale on the optimizer "
                "(GradScaler.step unscales them by itself)"
            )
        decisions = self._selection.decisions
        matrices: list[Tensor] = []
        grads: list[Tensor] = []
        others: list[Tensor] = []
        rest: list[Tensor] = []
        for index, group in enumerate(self.param_groups):
            for position, param in enumerate(group["params"]):
                grad = param.grad
                if grad is None:
                    continue
                decision = decisions.get(param) or self._selection.decide(index, group, position)
                if not decision.selected:
                    others.append(param)
                    rest.append(grad)
                elif grad.layout is torch.strided:
                    matrices.append(param)
                    grads.append(grad)
                else:
                    raise TypeError(
                        f"orthogonalize: the gradient of {decision.name} must be dense, got "
                        f"{grad.layout} (exclude= leaves it to the optimizer)"
                    )
        return matrices, grads, others, rest

    def _handle_nonfinite(self, new: dict[Tensor, Tensor | None], others: list[Tensor]) -> None:
        bad = [p for p, grad in new.items() if grad is not None and not is_finite(grad)]
        bad += [p for p in others if not is_finite(grad_of(p))]
        names = [self._selection.decisions[p].name for p in bad]
        if names and self._settings.nonfinite == "raise":
            raise RuntimeError(
                "orthogonalize: gradients must be finite, got NaN or Inf in those of "
                f"{', '.join(names)} (nonfinite='skip' or 'zero' goes on without them)"
            )
        zero = self._settings.nonfinite == "zero"
        for param, name in zip(bad, names, strict=True):
            new[param] = torch.zeros_like(grad_of(param)) if zero else None
            self.skipped[name] += 1
            # The first, tenth, hundredth... time: a run that often overflows must not fill its log.
            count = self.skipped[name]
            level = logging.WARNING if count == 10 ** (len(str(count)) - 1) else logging.DEBUG
            what = "taken as zero" if zero else "skipped"
            logger.log(level, "gradient of %s is not finite: %s (%d so far)", name, what, count)

    # ---- the parameters -------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's. `"orthogonalize": True` or `False` in the group overrides the selection."""
        super().add_param_group(param_group)
        index = len(self.param_groups) - 1
        try:
            self._selection.decide_group(index, self.param_groups[index])
        except Exception:
            self.param_groups.pop()
            raise

    # ---- copies and words -----------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        ours = ("_settings", "_selection", "skipped")
        return super().__getstate__() | {name: getattr(self, name) for name in ours}

    def __repr__(self) -> str:
        names = self.orthogonalized
        listed = f"Orthogonalized ({len(names)}): {', '.join(names)}"
        return f"{super().__repr__().removesuffix(')')}{listed}\n)"


def _base_name(cls: type[Optimizer]) -> str:
    mro = cls.__mro__
    return mro[mro.index(Orthogonalized) + 1].__name__
