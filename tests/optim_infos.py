"""torch's own table of optimisers (what its test_optim.py runs on), pointed at our classes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

import optim_cases as cases
import pytest
import torch
from hypothesis import settings
from torch import nn
from torch.optim import Optimizer
from torch.testing._internal.common_optimizers import OptimizerInfo, OptimizerInput, optim_db

import ortho_optim

settings.load_profile("ortho")  # torch's module has put a profile of its own in place

OURS: dict[str, type[Optimizer]] = {
    "SGD": ortho_optim.OrthogonalSGD,
    "Adam": ortho_optim.OrthogonalAdam,
    "AdamW": ortho_optim.OrthogonalAdamW,
    "RMSprop": ortho_optim.OrthogonalRMSprop,
    "Adagrad": ortho_optim.OrthogonalAdagrad,
    "Muon": ortho_optim.Muon,
}
INFOS: list[OptimizerInfo] = [info for info in optim_db if info.name in OURS]
every_info = pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)

# torch.optim.Muon's names for what are options of polar_foreach here. Not its eps: ours is safe at
# zero without one.
_MUON = {"ns_steps": "steps", "ns_coefficients": "coefficients", "adjust_lr_fn": "scale"}
_SCALES = {"original": "muon", "spectral_unclamped": "spectral"}  # names that differ


def translated(info: OptimizerInfo, keywords: dict[str, Any]) -> dict[str, Any]:
    """A constructor's keywords, of this test's own (a tensor rate may be changed in place)."""
    keywords = deepcopy(keywords)
    if info.name != "Muon":
        return keywords
    keywords = {_MUON.get(name, name): value for name, value in keywords.items()}
    if "scale" in keywords:
        keywords["scale"] = _SCALES.get(keywords["scale"], keywords["scale"])
    if "coefficients" in keywords:
        keywords["coefficients"] = [keywords["coefficients"]]
        keywords.setdefault("steps", 5)
    return keywords


def impls(info: OptimizerInfo) -> list[dict[str, Any]]:
    """Tensor by tensor, by lists of tensors, fused: as far as this optimiser has them on the CPU.

    torch's table counts "foreach" as a device's, but a user can ask for it anywhere.
    """
    if "foreach" not in info.supported_impls:
        return [{}]
    fused = [{"fused": True}] if "cpu" in info.supports_fused_on else []
    return [{"foreach": False}, {"foreach": True}, *fused]


def inputs(info: OptimizerInfo) -> list[tuple[OptimizerInput, dict[str, Any]]]:
    """Every input of torch's table with its keywords in our words."""
    given = info.optim_inputs_func(device="cpu")
    assert len(given) >= 4
    return [(one, translated(info, one.kwargs)) for one in given]


def configurations(info: OptimizerInfo) -> Iterator[dict[str, Any]]:
    """Every input in every way of stepping."""
    for _, keywords in inputs(info):
        for impl in impls(info):
            tensor_rate = isinstance(keywords.get("lr"), torch.Tensor)
            if not (tensor_rate and impl.get("foreach") and info.has_capturable_arg):
                yield deepcopy(keywords) | impl


def make_params(info: OptimizerInfo, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    """Two matrices and, where the optimiser takes one, a vector."""
    shapes = [(6, 4), (3, 8)]
    params = [nn.Parameter(cases.planted(s, 7).to(dtype, copy=True)) for s in shapes]
    if info.name != "Muon":
        params.append(nn.Parameter(torch.linspace(-1, 1, 5, dtype=dtype)))
    return params


def set_gradients(params: Iterable[nn.Parameter], step: int) -> None:
    """Well-conditioned, so that what is compared does not magnify rounding."""
    for i, p in enumerate(params):
        shape = tuple(p.shape) if p.ndim > 1 else (*p.shape, 1)
        p.grad = cases.planted(shape, 100 * step + i).reshape(p.shape).to(p.dtype, copy=True)


def run(optimizer: Optimizer, params: list[nn.Parameter], steps: Iterable[int]) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def quietly(make: Any, *args: Any, **keywords: Any) -> Any:
    """For optimisers on vectors or on nothing: that no parameter is selected is the point."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="orthogonalize: no parameter is selected")
        return make(*args, **keywords)
