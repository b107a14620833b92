"""What kind of layer a parameter belongs to: by its module, or else by its dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

# A transposed convolution stores (in, out / groups, ...), so its components are input channels; a
# grouped one is taken as one matrix. Both are the reading of the method: flatten from dimension 1.
_CONV = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_EMBEDDING = (nn.Embedding, nn.EmbeddingBag)

# The words that `layers=` takes, and the kinds that each of them lets in.
KINDS = {
    "all": frozenset({"conv", "linear"}),
    "conv": frozenset({"conv"}),
    "linear": frozenset({"linear"}),
    "any": frozenset({"conv", "linear", "embedding", "other"}),
}


class Place(NamedTuple):
    """Where a parameter lives: its name, the kinds of layer that hold it, and their modules."""

    name: str
    kinds: frozenset[str]
    modules: tuple[nn.Module, ...]


def kind_of(module: nn.Module, leaf: str) -> str:
    if isinstance(module, _EMBEDDING):
        return "embedding"
    if isinstance(module, _CONV) and leaf == "weight":
        return "conv"
    if isinstance(module, nn.Linear) and leaf == "weight":
        return "linear"
    if isinstance(module, nn.MultiheadAttention) and leaf.endswith("_weight"):
        return "linear"  # its query, key and value projections, fused or not
    return "other"


def kind_of_shape(param: Tensor) -> str:
    """Without a model only the shape is known: convolutions have three dimensions or more."""
    return "conv" if param.ndim >= 3 else "linear"


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    for prefix, module in model.named_modules():
        for leaf, param in module.named_parameters(recurse=False):
            yield f"{prefix}.{leaf}" if prefix else leaf, module, leaf, param


def places(model: nn.Module) -> dict[Tensor, Place]:
    """Every parameter of the model, tied ones once, with every kind of layer that shares them."""
    found: dict[Tensor, Place] = {}
    for name, module, leaf, param in _parameters(model):
        first = found.get(param, Place(name, frozenset(), ()))
        kinds = first.kinds | {kind_of(module, leaf)}
        found[param] = Place(first.name, kinds, (*first.modules, module))
    return found
