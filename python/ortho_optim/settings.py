"""The options of an orthogonalised optimiser, checked in words when they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from torch import Tensor, nn

import ortho_kernels as ok
from ortho_optim.factors import Maker, Normalize
from ortho_optim.scales import Scale, scale_rule
from ortho_optim.selection import Filters, Layers, Selection
from ortho_optim.views import Views

if TYPE_CHECKING:
    from typing_extensions import Self

Placement = Literal["gradient", "update"]
Decay = Literal["coupled", "decoupled"]
Clip = Literal["raw", "orthogonalized"]
Nonfinite = Literal["raise", "skip", "zero", "unchecked"]


class Options(TypedDict, total=False):
    """Every keyword that `orthogonalize` and the `Orthogonal*` optimisers add to the base's own."""

    # Which weights, and how each is read as matrices (see `Selection`).
    model: nn.Module | None
    layers: Layers
    include: Filters
    exclude: Filters
    view: Views
    # Their polar factors: passed to `ortho_kernels.polar_foreach` as they are.
    method: str
    coefficients: str | Sequence[tuple[float, float, float]] | None
    steps: int | None
    precision: str | None
    rank: str
    rtol: float | str | None
    backend: str | None
    # What else makes a factor, and where it goes (see `Maker`, `orthogonalize`).
    normalize: Normalize | None
    scale: Scale
    placement: Placement
    # The form of the base's step (see `forms`).
    decay: Decay | None
    lr_in_momentum: bool
    eps_in_root: bool
    # What else happens to gradients.
    clip: Clip
    max_norm: float | None
    nonfinite: Nonfinite


_SELECTION = ("model", "layers", "include", "exclude", "view")
_POLAR = ("method", "coefficients", "steps", "precision", "rank", "rtol", "backend")
_METHOD = "exact"  # where `polar_foreach` has "auto"
_DEFAULTS: Options = {
    "normalize": None,
    "scale": "none",
    "placement": "gradient",
    "decay": None,
    "lr_in_momentum": False,
    "eps_in_root": False,
    "clip": "raw",
    "max_norm": None,
    "nonfinite": "raise",
}


def take_options(keywords: dict[str, Any]) -> Options:
    """Remove our own keywords from a constructor's."""
    names = Options.__optional_keys__ & keywords.keys()
    return cast(Options, {name: keywords.pop(name) for name in names})


def signature_over(base: type, presets: Options) -> Signature:
    """The base's own parameters and our options, for `help` and editors."""
    theirs = [p for p in signature(base).parameters.values() if p.kind is not p.VAR_KEYWORD]
    taken = {p.name for p in theirs}
    others = signature(ok.polar_foreach).parameters | signature(Selection).parameters
    defaults = {name: p.default for name, p in others.items()} | {"method": _METHOD}
    defaults |= _DEFAULTS | presets
    ours = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name])
        for name in Options.__annotations__
        if name not in taken
    ]
    return Signature([*theirs, *ours])


def make_selection(options: Options) -> Selection:
    return Selection(**{name: value for name, value in options.items() if name in _SELECTION})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Settings:
    make_factors: Maker
    placement: Placement
    decay: Decay | None
    lr_in_momentum: bool
    eps_in_root: bool
    clip: Clip
    max_norm: float | None
    nonfinite: Nonfinite

    @classmethod
    def of(cls, options: Options) -> Self:
        """Our part of the options; the exact polar factor unless they name another method."""
        unknown = options.keys() - Options.__optional_keys__
        if unknown:
            raise TypeError(
                f"orthogonalize: options must be among {', '.join(Options.__annotations__)}, got "
                f"{', '.join(sorted(unknown))}"
            )
        options = _DEFAULTS | options
        clip, max_norm = options["clip"], options["max_norm"]
        _check_word("clip", clip, ("raw", "orthogonalized"))
        if clip == "raw" and max_norm is not None:
            raise ValueError(
                "orthogonalize: max_norm must go with clip='orthogonalized', got clip='raw', which "
                "leaves clipping to the training loop"
            )
        if clip == "orthogonalized" and (max_norm is None or not max_norm > 0):
            raise ValueError(
                f"orthogonalize: clip='orthogonalized' must have a max_norm > 0, got {max_norm}"
            )
        nonfinite = options["nonfinite"]
        _check_word("nonfinite", nonfinite, ("raise", "skip", "zero", "unchecked"))
        placement = options["placement"]
        _check_word("placement", placement, ("gradient", "update"))
        decay = options["decay"]
        if decay is not None:
            _check_word("decay", decay, ("coupled", "decoupled"))
        lr_in_momentum = options["lr_in_momentum"]
        if lr_in_momentum and placement == "update":
            raise ValueError(
                "orthogonalize: lr_in_momentum must go with placement='gradient', got 'update', "
                "where the factor forgets what is in the momentum's scale"
            )
        return cls(
            make_factors=_maker(options),
            placement=placement,
            decay=decay,
            lr_in_momentum=lr_in_momentum,
            eps_in_root=options["eps_in_root"],
            clip=clip,
            max_norm=max_norm,
            nonfinite=nonfinite,
        )


def _maker(options: Options) -> Maker:
    normalize = options["normalize"]
    polar: dict[str, Any] = {k: v for k, v in options.items() if k in _POLAR}
    if normalize is not None:
        _check_word("normalize", normalize, ("tensor", "row"))
        if polar:
            raise ValueError(
                f"orthogonalize: normalize={normalize!r} takes the place of the polar factor and "
                f"must come without its options, got {', '.join(polar)}"
            )
    polar = {"method": _METHOD} | polar
    ok.polar_foreach([], **polar)  # the kernels check their own options, now and not at step 1
    return Maker(polar, normalize, scale_rule(options["scale"]))


def check_numbers(optimizer: str, **numbers: Any) -> None:
    """An optimiser's own arguments, where the base is ours and not torch's."""
    for name, number in numbers.items():
        if isinstance(number, Tensor) and number.numel() != 1:
            raise ValueError(
                f"{optimizer}: {name} must have one element, got shape {tuple(number.shape)}"
            )
        if not number >= 0:
            raise ValueError(f"{optimizer}: {name} must be >= 0, got {number}")


def _check_word(argument: str, given: object, words: tuple[str, ...]) -> None:
    if given not in words:
        raise ValueError(
            f"orthogonalize: {argument} must be one of {', '.join(map(repr, words))}, got {given!r}"
        )
