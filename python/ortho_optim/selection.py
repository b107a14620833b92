"""Which parameters are orthogonalised: decided once per parameter, when the optimiser gets it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor, nn

from ortho_optim.layers import KINDS, Place, kind_of_shape, places
from ortho_optim.roster import Roster, make_roster
from ortho_optim.views import Views, check_fits, check_view

Layers: TypeAlias = "str | type[nn.Module] | tuple[type[nn.Module], ...]"
Filter: TypeAlias = "str | Callable[[str, Tensor], bool]"
Filters: TypeAlias = "Filter | Iterable[Filter] | None"


class Decision(NamedTuple):
    name: str
    selected: bool
    view: Any = "flatten"


class Selection:
    """The rule (`layers`, `include`, `exclude`, `view`), and what it decided so far."""

    def __init__(
        self,
        model: nn.Module | None = None,
        layers: Layers = "all",
        include: Filters = None,
        exclude: Filters = None,
        view: Views = "flatten",
    ) -> None:
        self.decisions: dict[Tensor, Decision] = {}
        self._layers = self._checked_layers(layers, model)
        self._include = checked_filters("include", include)
        self._exclude = checked_filters("exclude", exclude)
        self._default_view, self._views = _checked_views(view)
        self._filters = (*(self._include or ()), *(self._exclude or ()), *self._views)
        self._unused = {f for f in self._filters if isinstance(f, str)}
        self._model = model
        self._places = places(model) if model is not None else {}
        self._closed = False
        self._roster: Roster | None = None

    def roster(self, groups: Sequence[dict[str, Any]]) -> Roster:
        """The groups' parameters by what was decided, deciding for those that came since."""
        if self._roster is None or not self._roster.is_of(groups):
            self._roster = make_roster(self, groups)
        return self._roster

    @staticmethod
    def _checked_layers(layers: Layers, model: nn.Module | None) -> Layers:
        if isinstance(layers, str):
            if layers in KINDS:
                return layers
        else:
            types = layers if isinstance(layers, tuple) else (layers,)
            if types and all(isinstance(t, type) and issubclass(t, nn.Module) for t in types):
                if model is None:
                    raise ValueError("orthogonalize: layers as module types needs model=, got None")
                return types
        words = ", ".join(repr(k) for k in KINDS)
        raise ValueError(
            f"orthogonalize: layers must be one of {words} or nn.Module types, got {layers!r}"
        )

    @property
    def names(self) -> list[str]:
        return [d.name for d in self.decisions.values() if d.selected]

    def decide_group(self, index: int, group: dict[str, Any]) -> None:
        if group.get("differentiable"):
            raise ValueError(
                "orthogonalize: differentiable must be False, got True: a step on polar factors "
                "cannot be differentiated through"
            )
        for position in range(len(group["params"])):
            self.decide(index, group, position)

    def decide(self, index: int, group: dict[str, Any], position: int) -> Decision:
        """Decide for one parameter; `"orthogonalize"` in its group overrides the rule."""
        param = group["params"][position]
        flag = group.get("orthogonalize")
        if flag is not None and not isinstance(flag, bool):
            raise TypeError(
                f"orthogonalize: a group's 'orthogonalize' must be True or False, got {flag!r}"
            )
        names = group.get("param_names")
        name = names[position] if names else None
        where = f"param_groups[{index}][{position}]"
        place = self._place(param)
        label = name or (place.name if place else where)
        eligible = param.ndim >= 2 and self._eligible(param, place)
        self._mark_used(label, eligible)
        selected = eligible
        if param.ndim >= 2:
            named = name is not None or place is not None
            selected = self._rule(param, label, place, named, eligible) if flag is None else flag
        if selected and not param.is_floating_point():
            raise TypeError(
                f"orthogonalize: {label} must be real floating point, got "
                f"{str(param.dtype).removeprefix('torch.')} (exclude= leaves it to the optimizer)"
            )
        view = self._view(label, param) if selected else "flatten"
        decision = self.decisions[param] = Decision(label, selected, view)
        return decision

    def _view(self, label: str, param: Tensor) -> Any:
        """The first whose name or predicate takes the parameter, or else the one for all."""
        matching = (view for key, view in self._views.items() if takes((key,), label, param))
        view = next(matching, self._default_view)
        check_fits(label, view, param)
        return view

    def _place(self, param: Tensor) -> Place | None:
        if param not in self._places and self._model is not None:
            self._places = places(self._model)  # the model may have grown
        return self._places.get(param)

    def _rule(
        self, param: Tensor, label: str, place: Place | None, named: bool, eligible: bool
    ) -> bool:
        if self._closed or (self._model is not None and place is None):
            why = "it came to a copy" if self._closed else "it is not one of model's"
            raise ValueError(
                f"orthogonalize: {label} must be decided by 'orthogonalize': True or False in its "
                f"parameter group, because {why}, got neither"
            )
        if not named and any(isinstance(f, str) for f in self._filters):
            raise ValueError(
                "orthogonalize: include, exclude and view by name need names, got parameters "
                "without: pass model=, or model.named_parameters() as the parameters"
            )
        if not eligible or (self._include is not None and not takes(self._include, label, param)):
            return False
        return self._exclude is None or not takes(self._exclude, label, param)

    def _eligible(self, param: Tensor, place: Place | None) -> bool:
        if not isinstance(self._layers, str):
            return place is not None and any(isinstance(m, self._layers) for m in place.modules)
        kinds = place.kinds if place is not None else frozenset({kind_of_shape(param)})
        # A weight tied to an embedding is an embedding: its rows are tokens, not components.
        if "embedding" in kinds:
            kinds = frozenset({"embedding"})
        return bool(kinds & KINDS[self._layers])

    def _mark_used(self, label: str, eligible: bool) -> None:
        for pattern in list(self._unused):
            narrow = pattern in self._views or pattern in (self._include or ())
            if _matches(pattern, label) and (eligible or not narrow):
                self._unused.remove(pattern)

    def check(self) -> None:
        """A name that matches nothing is a spelling mistake, not a wish."""
        if self._unused:
            names = [d.name for p, d in self.decisions.items() if p.ndim >= 2]
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise ValueError(
                "orthogonalize: names in include and view must match weights that "
                f"layers={self._layers!r} lets in, and names in exclude must match parameters, got "
                f"{', '.join(sorted(map(repr, self._unused)))}; the weights are: {shown}"
            )
        if not self.names:
            warnings.warn("orthogonalize: no parameter is selected", stacklevel=4)

    def __getstate__(self) -> dict[str, Any]:
        # What was decided travels; a model or a predicate does not, so a copy of a selection that
        # had either asks for a group's own word about every matrix that comes later.
        state = self.__dict__ | {"_roster": None}
        if self._model is not None or any(not isinstance(f, str) for f in self._filters):
            state |= {"_model": None, "_places": {}, "_layers": "all", "_closed": True}
            state |= {"_include": None, "_exclude": None, "_views": {}, "_filters": ()}
        return state


def checked_filters(argument: str, given: Filters) -> tuple[Filter, ...] | None:
    if given is None:
        return None
    filters = (given,) if isinstance(given, str) or callable(given) else tuple(given)
    for one in filters:
        if not isinstance(one, str) and not callable(one):
            raise TypeError(
                f"orthogonalize: {argument} must be names (globs), predicates (name, parameter) -> "
                f"bool, or a list of them, got {one!r}"
            )
    return filters


def _checked_views(given: Views) -> tuple[Any, dict[Filter, Any]]:
    """The view for all, and those by name or predicate."""
    if not isinstance(given, Mapping):
        check_view(given)
        return given, {}
    views = dict(given)
    for key, view in views.items():
        if not isinstance(key, str) and not callable(key):
            raise TypeError(
                "orthogonalize: view must be by names (globs) or predicates (name, parameter) -> "
                f"bool, got {key!r}"
            )
        check_view(view)
    return "flatten", views


def _matches(pattern: str, name: str) -> bool:
    """A glob matches a parameter's whole name, or that of a module it lies in."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))


def takes(filters: tuple[Filter, ...], label: str, param: Tensor) -> bool:
    return any(_matches(f, label) if isinstance(f, str) else bool(f(label, param)) for f in filters)
