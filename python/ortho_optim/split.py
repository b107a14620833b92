"""One optimiser object for a whole model: AdamW where orthogonalisation does not belong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ortho_optim.gradients import clip, evaluate
from ortho_optim.layers import Place, places
from ortho_optim.orthogonalized import Orthogonalized
from ortho_optim.selection import Filters, checked_filters, takes
from ortho_optim.sgd import OrthogonalSGD
from ortho_optim.wrap import orthogonalize


class Row(NamedTuple):
    """What the table says about a parameter."""

    name: str
    shape: tuple[int, ...]
    rule: str
    why: str


def split(
    model: nn.Module,
    rule: type[Orthogonalized] = OrthogonalSGD,
    *,
    adamw: dict[str, Any] | None = None,
    head: Filters = "last",
    include: Filters = None,
    exclude: Filters = None,
    **arguments: Any,
) -> Split:
    """Embeddings, the head, biases and norms on AdamW; convolutions and linears on `rule`.

        optimizer = ortho_optim.split(model, ortho_optim.Muon, lr=0.02, adamw={"lr": 3e-4})
        print(optimizer)  # which parameter goes where, and why

    head: "last" (the last `nn.Linear` in the order of the model's modules), names or predicates as
        in `exclude=`, or None. A head that is tied to an embedding is an embedding.
    include, exclude: names or predicates as in `orthogonalize`: weights of at least two dimensions
        that go to the rule, wherever they are in the model, and those that go to AdamW. `exclude`
        has the last word.
    adamw: arguments of `torch.optim.AdamW`. Biases and norms get no decay unless it says
        `"decay_all": True`. `maximize` goes to both unless it says otherwise.
    arguments: the rule's own and `orthogonalize`'s options, for the orthogonalised weights. `clip`
        and `nonfinite` serve both: what the two step on is clipped to one norm.

    `OneCycleLR` and `CyclicLR` cycle momentum where both have it by the same name, so with Adam's
    betas in the rule or nothing on AdamW; else torch asks for `cycle_momentum=False`.
    """
    if not (isinstance(rule, type) and issubclass(rule, Orthogonalized)):
        raise TypeError(
            f"split: rule must be an orthogonalized class, got {rule!r} "
            "(ortho_optim.orthogonalize(cls) makes one)"
        )
    options: dict[str, Any] = {**rule.presets, **arguments}
    if "layers" in arguments or options.get("layers", "any") not in ("any", "all"):
        raise ValueError(
            "split: layers must be left to split, which decides by module type, got "
            f"{options['layers']!r} (include= and exclude= change what it decides)"
        )
    if include is None:
        include = options.get("include")
    if exclude is None:
        exclude = options.get("exclude")
    rows, matrices, decayed, bare = _sort(model, rule.__name__, head, include, exclude)
    if not matrices:
        raise ValueError(
            "split: model must have a convolution or linear to orthogonalize"
            f"{', or include= must name a weight' if exclude is None else ' that exclude leaves'}"
            ", got none"
        )
    _check_views(options.get("view"), rows, rule.__name__)
    decided = {"layers": "any", "include": None, "exclude": None}
    first = rule([{"params": matrices, "orthogonalize": True}], **{**arguments, **decided})
    inner: list[Orthogonalized] = [first]
    others = dict(adamw or {})
    taken = sorted(others.keys() & {"clip", "max_norm"})
    if taken:
        raise ValueError(
            "split: clip and max_norm must be given beside adamw, as they clip what both step on, "
            f"got {', '.join(taken)} in it"
        )
    decay_all = others.pop("decay_all", False)
    groups: list[dict[str, Any]] = [{"params": decayed}]
    groups.append({"params": bare} if decay_all else {"params": bare, "weight_decay": 0.0})
    groups = [{**group, "orthogonalize": False} for group in groups if group["params"]]
    if groups:
        others = {"maximize": arguments.get("maximize", False), **others}
        nonfinite = options.get("nonfinite", "raise")
        wrapped: Any = orthogonalize(AdamW)
        inner.append(_quietly(lambda: wrapped(groups, **others, nonfinite=nonfinite)))
    return Split(inner, rows)


def _quietly(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():  # that nothing is selected here is the point
        warnings.filterwarnings("ignore", message="orthogonalize: no parameter is selected")
        return make()


Named = list[tuple[str, Tensor]]


def _sort(
    model: nn.Module, rule: str, head: Filters, include: Filters, exclude: Filters
) -> tuple[list[Row], Named, Named, Named]:
    found = places(model)
    heads = _heads(model, found, head)
    included = _named(found, "include", include, 2)
    excluded = _named(found, "exclude", exclude, 0)
    rows: list[Row] = []
    matrices: Named = []
    decayed: Named = []
    bare: Named = []
    for param, place in found.items():
        if "embedding" in place.kinds:
            why, into = "embedding", decayed
        elif param in heads:
            why, into = "head", decayed
        elif param.ndim < 2:
            why, into = "bias or norm", bare
        elif place.kinds & {"conv", "linear"}:
            why, into = "/".join(sorted(place.kinds & {"conv", "linear"})), matrices
        else:
            why, into = "no layer that is known", decayed
        if into is decayed and param in included:
            why, into = "included", matrices
        if into is matrices and param in excluded:
            why, into = "excluded", decayed
        into.append((place.name, param))
        name = rule if into is matrices else "AdamW"
        rows.append(Row(place.name, tuple(param.shape), name, why))
    return rows, matrices, decayed, bare


def _heads(model: nn.Module, found: dict[Tensor, Place], head: Filters) -> set[Tensor]:
    if head is None:
        return set()
    if head == "last":
        linears = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
        return set(linears[-1:])  # tied to an embedding, it is one anyway
    chosen = _named(found, "head", head, 2)
    if not chosen:
        raise ValueError(f"split: head must match a weight of model, got {head!r}")
    return chosen


def _named(found: dict[Tensor, Place], argument: str, given: Filters, ndim: int) -> set[Tensor]:
    """The weights that names and predicates take; a name must match one of so many dimensions."""
    filters = checked_filters(argument, given) or ()
    eligible = {p: place.name for p, place in found.items() if p.ndim >= ndim}
    for one in filters:
        if isinstance(one, str) and not any(takes((one,), name, p) for p, name in eligible.items()):
            what = "a weight" if ndim == 2 else "a parameter"
            raise ValueError(f"split: {argument} must match {what} of model, got {one!r}")
    return {p for p, name in eligible.items() if p.ndim >= 2 and takes(filters, name, p)}


def _check_views(view: Any, rows: list[Row], rule: str) -> None:
    """Told here, by what the model has; the rule knows only its own weights."""
    for name in view if isinstance(view, Mapping) else ():
        if not isinstance(name, str):
            continue
        named = [row for row in rows if takes((name,), row.name, torch.empty(0))]
        if not any(row.rule == rule for row in named):
            where = ", ".join(f"{row.name} is on {row.rule}: {row.why}" for row in named[:3])
            raise ValueError(
                f"split: view must name weights that are on {rule}, got {name!r} "
                f"({where or 'nothing in model has that name'})"
            )


class Split(Optimizer):
    """Made by `split`: two optimisers behind one face. Groups, state and hooks are this one's."""

    def __init__(self, inner: Iterable[Orthogonalized], rows: list[Row]) -> None:
        self.inner = list(inner)
        self.table = rows
        groups = [{**g, "rule": i} for i, one in enumerate(self.inner) for g in one.param_groups]
        super().__init__(groups, {})
        self._join()
        # Schedulers look here for what every group has; groups get nothing from it.
        first, *rest = (one.defaults for one in self.inner)
        self.defaults = {k: v for k, v in first.items() if all(k in other for other in rest)}

    def _join(self) -> None:
        """Groups and state are shared, also after a checkpoint has replaced them."""
        for i, one in enumerate(self.inner):
            one.param_groups = [group for group in self.param_groups if group["rule"] == i]
            one.state = self.state

    # Fused steps would divide factors by a scale; see `Orthogonalized`.
    _step_supports_amp_scaling = False

    @property
    def orthogonalized(self) -> list[str]:
        """The names of the parameters whose gradients are orthogonalised."""
        return self.inner[0].orthogonalized

    @property
    def skipped(self) -> dict[str, int]:
        """How often each parameter's gradient was not finite."""
        return {name: n for one in self.inner for name, n in one.skipped.items()}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both; nothing moves if a gradient of either is refused."""
        loss = evaluate(closure)
        self._join()
        # AdamW's gradients first: they are looked at before the rule's momentum takes any in.
        replaced = [one._replace() for one in reversed(self.inner)][::-1]
        max_norm = self.inner[0]._settings.max_norm
        if max_norm is not None:
            clip(replaced, max_norm)
        for one, given in zip(self.inner, replaced, strict=True):
            one._take(one._finish(given))
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; `"orthogonalize": True` or `False` says which of the two takes the group."""
        if "rule" in param_group:  # from the constructor
            super().add_param_group(param_group)
            return
        flag = param_group.get("orthogonalize")
        if not isinstance(flag, bool) or (not flag and len(self.inner) < 2):
            raise ValueError(
                "split: a new group must say 'orthogonalize': True, or False where AdamW has "
                f"groups already, got {flag!r}"
            )
        one = self.inner[not flag]
        one.add_param_group(param_group)
        group = one.param_groups.pop()
        shared, self.defaults = self.defaults, {}  # the group has its own optimiser's already
        try:
            super().add_param_group({**group, "rule": int(not flag)})
        finally:
            self.defaults = shared
        self._join()
        rule = type(self.inner[0]).__name__ if flag else "AdamW"
        for param in group["params"]:
            name = one._selection.decisions[param].name
            self.table.append(Row(name, tuple(param.shape), rule, "added later"))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._join()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._join()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"inner": self.inner, "table": self.table}

    def __repr__(self) -> str:
        head = Row("parameter", (), "rule", "why")
        cells = [(r.name, "x".join(map(str, r.shape)) or "-", r.rule, r.why) for r in self.table]
        lines = [(head.name, "shape", head.rule, head.why), *cells]
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        return "\n".join(
            "  ".join(f"{cell:{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
