"""Optimisers on orthogonalised gradients: a thin layer over ortho_kernels and torch.optim."""

from ortho_optim.orthogonalized import Orthogonalized
from ortho_optim.sgd import OrthogonalSGD
from ortho_optim.wrap import orthogonalize

__all__ = ["OrthogonalSGD", "Orthogonalized", "orthogonalize"]
