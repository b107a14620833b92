"""Optimisers on orthogonalised gradients: a thin layer over ortho_kernels and torch.optim."""

from ortho_optim.adaptive import (
    OrthogonalAdagrad,
    OrthogonalAdam,
    OrthogonalAdamW,
    OrthogonalRMSprop,
)
from ortho_optim.gradient_window import GradientWindow
from ortho_optim.lars import LARS, OrthogonalLARS
from ortho_optim.muon import Muon
from ortho_optim.orthogonalized import Orthogonalized
from ortho_optim.scales import SCALES
from ortho_optim.sgd import OrthogonalSGD
from ortho_optim.split import Split, split
from ortho_optim.top_eigenpair import TopEigenpair
from ortho_optim.views import transposed
from ortho_optim.wrap import orthogonalize

__all__ = [
    "LARS",
    "SCALES",
    "GradientWindow",
    "Muon",
    "OrthogonalAdagrad",
    "OrthogonalAdam",
    "OrthogonalAdamW",
    "OrthogonalLARS",
    "OrthogonalRMSprop",
    "OrthogonalSGD",
    "Orthogonalized",
    "Split",
    "TopEigenpair",
    "orthogonalize",
    "split",
    "transposed",
]
