"""Algorithm 6: the base optimiser's own step, on polar factors in place of gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from inspect import Parameter, signature
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import ortho_kernels as ok
from ortho_optim import fused, nonfinite, roster
from ortho_optim.forms import adam_with_eps_in_root, check, is_decoupled, lent, times_rate
from ortho_optim.gradients import (
    Prepared,
    Replaced,
    clip,
    dense,
    evaluate,
    exchanged,
    without,
)
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

    from ortho_optim.roster import Present
    from ortho_optim.selection import Selection


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
            clip([replaced], self._settings.max_norm)
        return self._finish(replaced)

    def _replace(self) -> Replaced:
        """The factors."""
        if getattr(self, "grad_scale", None) is not None:
            raise RuntimeError(
                "orthogonalize: gradients must come unscaled, got a grad_scale on the optimizer "
                "(GradScaler.step unscales them by itself)"
            )
        present = roster.call(self._selection.roster(self.param_groups))
        whole, apart = fused.part(self, present) if self._fuses else (fused.NOTHING, present)
        first, make_factors = self._settings.placement == "gradient", self._settings.make_factors
        made: list[Any] = make_factors(apart.grads, apart.views) if first and apart.grads else []
        kept = made if first else [*apart.grads]
        replaced = Replaced([*apart.weights], kept, apart.others, whole)
        raw = [*(whole.grads if first else present.grads), *dense(apart.rest)]
        self._screen(replaced, made, raw)
        if not first:  # what is not finite must not get into the momentum
            self._make_updates(replaced, apart)
        return replaced

    def _finish(self, replaced: Replaced) -> Prepared:
        if self._settings.lr_in_momentum:
            times_rate(self, replaced)
        grads, count = replaced.grads, replaced.weights
        if self._settings.placement == "gradient" or not count:
            return Prepared(replaced.params, grads, {}, replaced.whole)
        updates = dict(zip(replaced.params[:count], grads[:count], strict=True))
        kept: list[Tensor | None] = [*repeat(None, count), *grads[count:]]
        return Prepared(replaced.params, kept, updates, replaced.whole)

    def _take(self, prepared: Prepared, **keywords: Any) -> Any:
        """The base's own step with gradients exchanged, and raw gradients back."""
        params, grads, updates, whole = prepared
        if self._settings.eps_in_root:
            base_step: Callable[..., Any] = partial(adam_with_eps_in_root, self)
        else:
            base_step = self._base_step
        with exchanged(params, grads):
            if whole.params:
                fused.step(self, self._settings, whole)
            with without(self.param_groups, whole.params), lent(self, self._settings):
                returned = base_step(**keywords)
            if updates:
                self._apply_updates(updates)
        return returned

    def _base_step(self, **keywords: Any) -> Any:
        # torch wraps the step of every optimiser class to run the user's hooks around it. Ours is
        # wrapped too, so the base's wrapper is left out: hooks run once, and see raw gradients.
        function = super().step.__func__  # type: ignore[attr-defined]
        if getattr(function, "hooked", False):
            function = function.__wrapped__
        return function(self, **keywords)

    def _make_updates(self, replaced: Replaced, apart: Present) -> None:
        """For placement="update": gradients replaced by the factors of what momentum makes."""
        direction = direction_of(self)
        assert direction is not None
        decoupled = self._settings.decay == "decoupled"
        taken: list[int] = []
        directions: list[Tensor] = []
        for index, group in enumerate(self.param_groups):
            mine = [
                i
                for i, of in enumerate(apart.group_of)
                if of == index and replaced.grads[i] is not None
            ]
            if mine:
                taken += mine
                params = [apart.weights[i] for i in mine]
                grads: list[Any] = [replaced.grads[i] for i in mine]
                directions += direction(self.state, group, params, grads, decoupled)
        params = [apart.weights[i] for i in taken]
        out = over(self.state, params, directions)
        views = [apart.views[i] for i in taken]
        factors = self._settings.make_factors(directions, views, out)
        for i, factor in zip(taken, factors, strict=True):
            replaced.grads[i] = factor

    def _apply_updates(self, updates: dict[Tensor, Tensor | None]) -> None:
        for group in self.param_groups:
            mine = [p for p in group["params"] if updates.get(p) is not None]
            if mine:
                decoupled = is_decoupled(group) or self._settings.decay == "decoupled"
                factors: list[Any] = [updates[p] for p in mine]
                apply(group, mine, factors, decoupled)

    def _screen(self, replaced: Replaced, ours: list[Tensor], raw: list[Any]) -> None:
        """Look for NaN and Inf, unless told not to: looking waits for the device."""
        if self._settings.nonfinite == "unchecked" or ok.all_finite([*ours, *raw]):
            return
        bad = nonfinite.find(replaced)
        names = [self._selection.decisions[param].name for param in bad]
        nonfinite.settle(replaced, bad, names, self._settings.nonfinite, self.skipped)

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
        ours = ("_settings", "_selection", "_fuses", "skipped")
        return super().__getstate__() | {name: getattr(self, name) for name in ours}

    def __repr__(self) -> str:
        names = self.orthogonalized
        listed = f"Orthogonalized ({len(names)}): {', '.join(names)}"
        return f"{super().__repr__().removesuffix(')')}{listed}\n)"


def _base(cls: type[Optimizer]) -> type:
    mro = cls.__mro__
    return mro[mro.index(Orthogonalized) + 1]
