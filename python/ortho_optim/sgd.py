"""Orthogonal-SGD and -SGDM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.optim import SGD

from ortho_optim.orthogonalized import Orthogonalized

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT
    from typing_extensions import Unpack

    from ortho_optim.settings import Options


class OrthogonalSGD(Orthogonalized, SGD):
    """`torch.optim.SGD` on polar factors: v <- momentum v + U V^T, w <- w - lr v.

    The arguments are `torch.optim.SGD`'s, the options `orthogonalize`'s; `params` may be a model.
    The learning rate stays outside the momentum buffer, so a schedule acts on the whole velocity.
    Coupled weight decay is added to the polar factor, not orthogonalised with the gradient.
    """

    def __init__(
        self,
        params: ParamsT | nn.Module,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            params,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            maximize=maximize,
            foreach=foreach,
            fused=fused,
            **options,
        )
