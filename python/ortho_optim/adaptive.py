"""Orthogonal-Adam, -AdamW, -RMSprop and -Adagrad."""

from __future__ import annotations

from torch.optim import Adagrad, Adam, AdamW, RMSprop

from ortho_optim.orthogonalized import Orthogonalized


class OrthogonalAdam(Orthogonalized, Adam):
    """`torch.optim.Adam` on polar factors; its arguments, and `orthogonalize`'s options.

    Coupled weight decay is added to the factor, so it passes through the moments.
    `eps_in_root=True` is the thesis's printed form, lr m / sqrt(v + eps).
    """


class OrthogonalAdamW(Orthogonalized, AdamW):
    """`torch.optim.AdamW` on polar factors; its arguments, and `orthogonalize`'s options.

    The decay goes neither through the moments nor through the factor.
    """


class OrthogonalRMSprop(Orthogonalized, RMSprop):
    """`torch.optim.RMSprop` on polar factors; its arguments, and `orthogonalize`'s options."""


class OrthogonalAdagrad(Orthogonalized, Adagrad):
    """`torch.optim.Adagrad` on polar factors; its arguments, and `orthogonalize`'s options."""
