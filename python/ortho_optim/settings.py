"""The options of an orthogonalised optimiser, checked in words when they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from torch import nn

import ortho_kernels as ok
from ortho_optim.selection import Filters, Layers, Selection

if TYPE_CHECKING:
    from typing_extensions import Self

Clip = Literal["raw", "orthogonalized"]
Nonfinite = Literal["raise", "skip", "zero"]


class Options(TypedDict, total=False):
    """Every keyword that `orthogonalize` and the `Orthogonal*` optimisers add to the base's own."""

    # Which weights (see `Selection`).
    model: nn.Module | None
    layers: Layers
    include: Filters
    exclude: Filters
    # What becomes of their gradients: passed to `ortho_kernels.polar_foreach` as they are.
    method: str
    view: Any
    coefficients: str | Sequence[tuple[float, float, float]] | None
    steps: int | None
    precision: str | None
    rank: str
    rtol: float | str | None
    backend: str | None
    # What else happens to gradients.
    clip: Clip
    max_norm: float | None
    nonfinite: Nonfinite


_SELECTION = ("model", "layers", "include", "exclude")
_POLAR = ("method", "view", "coefficients", "steps", "precision", "rank", "rtol", "backend")


def take_options(keywords: dict[str, Any]) -> Options:
    """Remove our own keywords from a constructor's."""
    names = Options.__optional_keys__ & keywords.keys()
    return cast(Options, {name: keywords.pop(name) for name in names})


def make_selection(options: Options) -> Selection:
    return Selection(**{name: value for name, value in options.items() if name in _SELECTION})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Settings:
    polar: dict[str, Any]
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
        polar: dict[str, Any] = {"method": "exact"}
        polar |= {k: v for k, v in options.items() if k in _POLAR}
        if isinstance(polar.get("view"), (list, tuple)):
            raise ValueError(
                "orthogonalize: view must be one for all parameters, because which of them have "
                "gradients changes from step to step, got a list"
            )
        clip, max_norm = options.get("clip", "raw"), options.get("max_norm")
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
        nonfinite = options.get("nonfinite", "raise")
        _check_word("nonfinite", nonfinite, ("raise", "skip", "zero"))
        ok.polar_foreach([], **polar)  # the kernels check their own options, now and not at step 1
        return cls(polar, clip, max_norm, nonfinite)


def _check_word(argument: str, given: object, words: tuple[str, ...]) -> None:
    if given not in words:
        raise ValueError(
            f"orthogonalize: {argument} must be one of {', '.join(map(repr, words))}, got {given!r}"
        )
