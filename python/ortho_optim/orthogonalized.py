"""Algorithm 6: the base optimiser's own step, on polar factors in place of gradients."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ortho_optim import fused
from ortho_optim.forms import adam_with_eps_in_root, check, is_decoupled, lent, times_rate
from ortho_optim.gradients import Prepared, Replaced, all_finite, clip, evaluate, grad_of, is_finite
from ortho_optim.momentum import apply, direction_of, over
from ortho_optim.settings import (
    Options,
    Settings,
    make_selection,
    signature_over,
    take_options,
)

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
    _borrows: bool  # the base's step takes some of its groups' entries changed
    _fuses: bool  # its rule is one that the fused step knows

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__init__ is Orthogonalized.__init__:
            cls.__signature__ = signature_over(_base(cls), cls.presets)  # type: ignore[attr-defined]
        closure = signature(super().step).parameters.get("closure")
        if closure is not None and closure.default is Parameter.empty:
            raise TypeError(
                "orthogonalize: optimizer must take a step without a closure, got "
                f"{_base(cls).__name__}, which evaluates its closure several times a step"
            )

    def __init__(self, params: ParamsT | nn.Module, *args: Any, **keywords: Any) -> None:
        taken = signature(super().__init__).parameters.keys() & Options.__optional_keys__
        if taken:
            raise TypeError(
                "orthogonalize: optimizer must not have keywords of ours, got "
                f"{_base(type(self)).__name__} with {', '.join(sorted(taken))} (an instance of it "
                "can be orthogonalized)"
            )
        options = self.presets | take_options(keywords)
        if isinstance(params, nn.Module):
            if options.get("model") not in (None, params):
                raise ValueError("orthogonalize: model must be given once, got two different ones")
            options["model"] = params
            params = list(params.parameters())
        self._install(Settings.of(options), make_selection(options))
        super().__init__(params, *args, **keywords)
        self._check()

    def _install(self, settings: Settings, selection: Selection) -> None:
        self._settings = settings
        self._selection = selection
        self._borrows = settings.decay == "decoupled" or settings.lr_in_momentum
        self._fuses = fused.can_fuse(self, _base(type(self)), settings)
        self.skipped = Counter()

    def _check(self) -> None:
        check(self, self._settings)
        self._selection.check()

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
        loss = evaluate(closure)
        returned: float | None = self._take(self._prepare(), **keywords)
        return returned if closure is None else loss

    def _prepare(self) -> Prepared:
        """Everything that can fail, before a weight or a gradient has changed."""
        replaced = self._replace()
        if self._settings.max_norm is not None:
            clip(replaced.new, replaced.others, self._settings.max_norm)
        return self._finish(replaced)

    def _replace(self) -> Replaced:
        """The factors."""
        matrices, grads, others, rest = self._gradients()
        settings, decisions = self._settings, self._selection.decisions
        whole = fused.fusable(self, decisions) if self._fuses else {}
        apart = [p for p in matrices if p not in whole] if whole else matrices
        new: dict[Tensor, Tensor | None]
        if settings.placement == "gradient":
            kept = [grad_of(p) for p in apart] if whole else grads
            factors = settings.make_factors(kept, [decisions[p] for p in apart])
            new = dict(zip(apart, factors, strict=True))
            new.update(whole)
            self._screen(new, factors, [*map(grad_of, whole), *rest], others)
        else:  # what is not finite must not get into the momentum
            new = dict(zip(matrices, grads, strict=True))
            self._screen(new, [], [*grads, *rest], others)
            self._make_updates(new, apart)
        return Replaced(new, apart, others, whole)

    def _finish(self, replaced: Replaced) -> Prepared:
        new, apart, _, whole = replaced
        if self._settings.lr_in_momentum:
            times_rate(self, new)
        updates = {p: new[p] for p in apart} if self._settings.placement == "update" else {}
        if not updates and not whole:
            return Prepared(new, {}, {})
        steps = {p: new[p] for p in whole}
        return Prepared(new | dict.fromkeys([*updates, *steps]), updates, steps)

    def _take(self, prepared: Prepared, **keywords: Any) -> Any:
        """The base's own step with gradients exchanged, and raw gradients back."""
        raw = [(param, param.grad) for param in prepared.gradients]
        try:
            for param, grad in prepared.gradients.items():
                param.grad = grad
            if prepared.fused:
                fused.step(self, self._settings, self._selection.decisions, prepared.fused)
            if self._settings.eps_in_root:
                base_step: Callable[..., Any] = partial(adam_with_eps_in_root, self)
            else:
                base_step = self._base_step
            if not self._borrows:
                returned = base_step(**keywords)
            else:
                with lent(self, self._settings):
                    returned = base_step(**keywords)
            if prepared.updates:
                self._apply_updates(prepared.updates)
        finally:
            for param, grad in raw:
                param.grad = grad
        return returned

    def _base_step(self, **keywords: Any) -> Any:
        # torch wraps the step of every optimiser class to run the user's hooks around it. Ours is
        # wrapped too, so the base's wrapper is left out: hooks run once, and see raw gradients.
        function = super().step.__func__  # type: ignore[attr-defined]
        if getattr(function, "hooked", False):
            function = function.__wrapped__
        return function(self, **keywords)

    def _make_updates(self, new: dict[Tensor, Tensor | None], matrices: list[Tensor]) -> None:
        """For placement="update": gradients replaced by the factors of what momentum makes."""
        direction, selected = direction_of(self), set(matrices)
        assert direction is not None
        params: list[Tensor] = []
        directions: list[Tensor] = []
        for group in self.param_groups:
            mine = [p for p in group["params"] if p in selected and new[p] is not None]
            if mine:
                params += mine
                grads: list[Any] = [new[p] for p in mine]
                decoupled = self._settings.decay == "decoupled"
                directions += direction(self.state, group, mine, grads, decoupled)
        decisions = [self._selection.decisions[p] for p in params]
        out = over(self.state, params, directions)
        factors = self._settings.make_factors(directions, decisions, out)
        new.update(zip(params, factors, strict=True))

    def _apply_updates(self, updates: dict[Tensor, Tensor | None]) -> None:
        for group in self.param_groups:
            mine = [p for p in group["params"] if updates.get(p) is not None]
            if mine:
                decoupled = is_decoupled(group) or self._settings.decay == "decoupled"
                factors: list[Any] = [updates[p] for p in mine]
                apply(group, mine, factors, decoupled)

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

    def _screen(
        self,
        new: dict[Tensor, Tensor | None],
        ours: list[Tensor],
        raw: list[Tensor],
        others: list[Tensor],
    ) -> None:
        """Look for NaN and Inf, unless told not to: looking waits for the device."""
        if self._settings.nonfinite != "unchecked" and not all_finite(ours, raw):
            self._handle_nonfinite(new, others)

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
        ours = ("_settings", "_selection", "_borrows", "_fuses", "skipped")
        return super().__getstate__() | {name: getattr(self, name) for name in ours}

    def __repr__(self) -> str:
        names = self.orthogonalized
        listed = f"Orthogonalized ({len(names)}): {', '.join(names)}"
        return f"{super().__repr__().removesuffix(')')}{listed}\n)"


def _base(cls: type[Optimizer]) -> type:
    mro = cls.__mro__
    return mro[mro.index(Orthogonalized) + 1]
