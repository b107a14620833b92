"""Who is in an optimiser's groups, which is looked up once, and who of them has a gradient.

In lists of one order and not in dictionaries, which hash a tensor in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, repeat
from operator import attrgetter, is_, is_not
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ortho_optim.selection import Selection


_layout = attrgetter("layout")


class Roster(NamedTuple):
    """The parameters as they were when they were looked at."""

    groups: list[list[Tensor]]
    weights: list[Tensor]  # to be orthogonalised
    names: list[str]
    views: list[Any]
    group_of: list[int]
    others: list[Tensor]

    def is_of(self, groups: Sequence[dict[str, Any]]) -> bool:
        """Whether these are still those: a user may have changed a group's list."""
        return len(groups) == len(self.groups) and all(
            len(then) == len(group["params"]) and all(map(is_, then, group["params"]))
            for then, group in zip(self.groups, groups, strict=True)
        )


class Present(NamedTuple):
    """The weights that have a gradient, and the other parameters that have one."""

    weights: list[Tensor]
    grads: list[Tensor]
    views: list[Any]
    group_of: list[int]
    others: list[Tensor]
    rest: list[Tensor]  # the others' gradients

    def without_weights(self) -> Present:
        return Present([], [], [], [], self.others, self.rest)

    def where(self, wanted: Sequence[bool]) -> Present:
        """Some of the weights; the others as they are."""
        lists: list[Any] = [list(compress(one, wanted)) for one in self[:4]]
        weights, grads, views, group_of = lists
        return Present(weights, grads, views, group_of, self.others, self.rest)


def make_roster(selection: Selection, groups: Sequence[dict[str, Any]]) -> Roster:
    roster = Roster([list(group["params"]) for group in groups], [], [], [], [], [])
    for index, group in enumerate(groups):
        for position, param in enumerate(group["params"]):
            decision = selection.decisions.get(param) or selection.decide(index, group, position)
            if decision.selected:
                roster.weights.append(param)
                roster.names.append(decision.name)
                roster.views.append(decision.view)
                roster.group_of.append(index)
            else:
                roster.others.append(param)
    return roster


def call(roster: Roster) -> Present:
    """Who has a gradient now; those to be orthogonalised must be dense."""
    grads: list[Any] = [param.grad for param in roster.weights]
    rest: list[Any] = [param.grad for param in roster.others]
    others, names = roster.others, roster.names
    there = list(map(is_not, rest, repeat(None)))
    if not all(there):
        others, rest = (list(compress(one, there)) for one in (others, rest))
    everyone = Present(roster.weights, grads, roster.views, roster.group_of, others, rest)
    there = list(map(is_not, grads, repeat(None)))
    if not all(there):
        everyone, names = everyone.where(there), list(compress(names, there))
    layouts = list(map(_layout, everyone.grads))
    if layouts.count(torch.strided) != len(layouts):
        name, layout = next(
            (name, layout)
            for name, layout in zip(names, layouts, strict=True)
            if layout is not torch.strided
        )
        raise TypeError(
            f"orthogonalize: the gradient of {name} must be dense, got {layout} "
            "(exclude= leaves it to the optimizer)"
        )
    return everyone
