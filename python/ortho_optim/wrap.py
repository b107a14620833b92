"""`orthogonalize`: any torch optimiser, class or instance, on orthogonalised gradients."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from torch.optim import Optimizer

from ortho_optim.forms import check
from ortho_optim.orthogonalized import Orthogonalized
from ortho_optim.settings import Options, Settings, make_selection

if TYPE_CHECKING:
    from typing_extensions import Unpack

O = TypeVar("O", bound=Optimizer)  # noqa: E741


@overload
def orthogonalize(optimizer: type[O], **options: Unpack[Options]) -> type[O]: ...
@overload
def orthogonalize(optimizer: O, **options: Unpack[Options]) -> O: ...
def orthogonalize(optimizer: Any, **options: Unpack[Options]) -> Any:
    """Make an optimiser step on the polar factors of its conv and linear gradients.

    A class gives a new class, whose constructor takes the base's arguments (a model, too, in place
    of its parameters) and our options; options given here become its defaults. An instance becomes
    orthogonalised itself and is returned: its state, groups, hooks and schedulers stay.

        orthogonalize(torch.optim.Adam)(model, lr=1e-3)
        optimizer = orthogonalize(torch.optim.SGD(model.parameters(), lr=0.1), model=model)

    Which weights (`orthogonalized` on the optimiser lists them):
      model      by module type: convolutions and linears, no embeddings. Without it, by shape:
                 every parameter with at least two dimensions.
      layers     "all" (convolutions and linears), "conv", "linear", "any" (every parameter with at
                 least two dimensions), or module types.
      include, exclude
                 names (globs of a parameter or of a module around it), predicates (name, parameter)
                 -> bool, or lists of them. `include` narrows `layers`, `exclude` takes away.
    How: method ("exact"), coefficients, steps, precision, rank, rtol, backend go to
    `ortho_kernels.polar_foreach`, and so does
      view       one for all, or a mapping from names and predicates to views; `transposed()`, too.
      normalize  "tensor", "row": the gradient at norm 1 in place of its factor.
      scale      what a factor of m rows and n columns is multiplied by: a name in `SCALES`, a
                 number, or a function (m, n) -> float.
      placement  "gradient": before the momentum. "update": after it, as Muon (SGD only).
      decay      "decoupled": w <- (1 - lr weight_decay) w, in place of the base's coupled one.
      lr_in_momentum, eps_in_root
                 the forms of SGD's and Adam's step that the thesis prints (see `forms`).
      clip       "raw": the training loop's clipping acts on raw gradients, so not on factors
                 (with placement="update" it weighs them in the momentum). "orthogonalized": the
                 global norm of what the base steps on, polar factors and other gradients together,
                 is clipped to `max_norm`.
      nonfinite  a gradient with NaN or Inf: "raise" before anything has changed, "skip" its
                 parameter, or take it as "zero". `skipped` on the optimiser counts. "unchecked":
                 do not look, nor wait for the device.
    """
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return _derive(optimizer, options)
    if isinstance(optimizer, Optimizer):
        return _convert(optimizer, options)
    raise TypeError(
        "orthogonalize: optimizer must be a torch.optim.Optimizer, instance or class, got "
        f"{optimizer!r}"
    )


class _Derived(Orthogonalized):
    """What is made here: a class that cannot be imported by name, so pickle gets its base's."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        base = type(self).__dict__.get("derived_from")
        if base is None:  # a class that a user derived from ours has a name again
            return super().__reduce_ex__(protocol)
        return _blank, (base,), self.__getstate__()


def _blank(base: type[Optimizer]) -> Optimizer:
    cls = _class_on(base)
    return cls.__new__(cls)


_classes: dict[type[Optimizer], type[_Derived]] = {}


def _class_on(base: type[Optimizer]) -> type[_Derived]:
    if base not in _classes:
        _classes[base] = _new_class(base, {})
    return _classes[base]


def _new_class(base: type[Optimizer], presets: Options) -> type[_Derived]:
    if issubclass(base, Orthogonalized):
        raise TypeError(f"orthogonalize: {base.__name__} is orthogonalized already")
    members = {"presets": presets, "derived_from": base, "__doc__": Orthogonalized.__doc__}
    return type(f"Orthogonal{base.__name__}", (_Derived, base), members)


def _derive(base: type[Optimizer], options: Options) -> type[Optimizer]:
    if not options:
        return _class_on(base)
    Settings.of(options)  # a wrong option is told here, not where the class is used
    return _new_class(base, options)


def _convert(optimizer: Optimizer, options: Options) -> Optimizer:
    """Change the instance's class: there stays one optimiser, so nothing that holds it is stale."""
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, Optimizer):
        raise TypeError(
            "orthogonalize: optimizer must be the one that steps, got "
            f"{type(optimizer).__name__} around {type(inner).__name__}: orthogonalize that one "
            "before it is wrapped"
        )
    cls = _class_on(type(optimizer))
    settings, selection = Settings.of(options), make_selection(options)
    for index, group in enumerate(optimizer.param_groups):
        selection.decide_group(index, group)
    check(optimizer, settings)
    selection.check()
    scheduled = _was_scheduled(optimizer)
    optimizer.__class__ = cls
    converted = cast(_Derived, optimizer)
    converted._install(settings, selection)
    converted._patch_step_function()  # torch's constructor did it for the old class only
    if scheduled:
        _track_steps(optimizer)
    return optimizer


def _was_scheduled(optimizer: Optimizer) -> bool:
    """Whether a scheduler has put its counting step, bound to the old class, on the instance."""
    step = optimizer.__dict__.get("step")
    if step is not None and not hasattr(step, "_wrapped_by_lr_sched"):
        raise TypeError(
            "orthogonalize: optimizer must have its class's own step, got one that something else "
            "has replaced on this instance: orthogonalize before that"
        )
    return step is not None


def _track_steps(optimizer: Optimizer) -> None:
    """What torch's schedulers do to an optimiser to see whether it has stepped, once more."""
    reference = weakref.ref(optimizer)
    function = type(optimizer).step

    @functools.wraps(function)
    def step(*args: Any, **keywords: Any) -> Any:
        instance = reference()
        instance._opt_called = True  # type: ignore[union-attr]
        return function(instance, *args, **keywords)  # type: ignore[arg-type]

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = step  # type: ignore[method-assign]
