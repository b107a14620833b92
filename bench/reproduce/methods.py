"""Who takes part: AdamW, and what becomes of it when the matrices between are orthogonalised.

Every optimiser has embeddings, the head and the norms on AdamW with the same settings; only the
linear layers of the blocks differ. "heads" makes the block of rows that belongs to an attention
head a matrix of its own, in query, key and value; all other matrices are taken whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

import ortho_kernels as ok
import ortho_optim
from ortho_optim.muon import AveragedSGD

PROJECTIONS = ("query", "key", "value")
WHOLE, HEADS = "whole", "heads"
DECAY = 0.1
ADAMW: dict[str, Any] = {"betas": (0.9, 0.95), "weight_decay": DECAY}


@dataclass(frozen=True)
class Method:
    """`variant` is how it orthogonalises, `grain` what: whole matrices or each head by itself."""

    variant: str
    grain: str = ""
    start: float = 4e-3  # the learning rate that the search starts from
    rule: type[Any] | None = None
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def recipe(self) -> str:
        """All that the name does not say: a run of another recipe is another run."""
        rule = "AdamW" if self.rule is None else self.rule.__name__
        return f"{rule} {self.options} beside {ADAMW}"

    @property
    def name(self) -> str:
        return f"{self.variant}, {self.grain}" if self.grain else self.variant

    def optimizer(self, model: nn.Module, heads: int, rate: float, adamw_rate: float) -> Optimizer:
        """`rate` is of the matrices between, `adamw_rate` of all else."""
        if self.rule is None:
            return _adamw(model, rate, adamw_rate)
        view = {f"*.{name}": ok.heads(heads) for name in PROJECTIONS}
        return ortho_optim.split(
            model,
            self.rule,
            lr=rate,
            weight_decay=DECAY,
            adamw={"lr": adamw_rate, **ADAMW},
            **(self.options | ({"view": view} if self.grain == HEADS else {})),
        )

    def base(self, model: nn.Module, rate: float, adamw_rate: float) -> Sequence[Optimizer]:
        """The same without the orthogonalisation, to tell its time from the base's own."""
        if self.rule is not ortho_optim.Muon:
            return [_adamw(model, rate, adamw_rate)]
        momentum = {"momentum": 0.95, "nesterov": True, "maximize": False}
        return [
            AveragedSGD(between(model), rate, DECAY, **momentum),  # type: ignore[arg-type]
            AdamW(_others(model), lr=adamw_rate, **ADAMW),
        ]


def between(model: nn.Module) -> list[Tensor]:
    """The linear layers of the blocks: neither embedding nor head."""
    named = model.named_parameters()
    return [p for name, p in named if name.startswith("blocks.") and p.ndim == 2]


def _others(model: nn.Module) -> list[dict[str, Any]]:
    """No decay on norms, as `split` has it."""
    matrices = set(between(model))
    decayed = [p for p in model.parameters() if p.ndim == 2 and p not in matrices]
    norms = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decayed}, {"params": norms, "weight_decay": 0.0}]


def _adamw(model: nn.Module, rate: float, adamw_rate: float) -> Optimizer:
    others = [{**group, "lr": adamw_rate} for group in _others(model)]
    return AdamW([{"params": between(model), "lr": rate}, *others], **ADAMW)


def _both(variant: str, rule: type[Any], start: float, **options: Any) -> list[Method]:
    return [Method(variant, grain, start, rule, options) for grain in (WHOLE, HEADS)]


def _orthogonal(words: str = "", **options: Any) -> list[Method]:
    variant = f"Orthogonal-AdamW, {words}" if words else "Orthogonal-AdamW"
    betas = ADAMW["betas"]
    return _both(variant, ortho_optim.OrthogonalAdamW, 1.6e-2, betas=betas, **options)


BASELINE = Method("AdamW")
FREE = Method("AdamW, two rates")  # all that follow have two learning rates, so AdamW may, too
METHODS = [
    BASELINE,
    FREE,
    *_orthogonal(),
    *_orthogonal("rtol 1e-4", rtol=1e-4),
    *_orthogonal("rtol 1e-3", rtol=1e-3),
    *_orthogonal("newton", method="newton"),
    *_both("Muon", ortho_optim.Muon, 2e-2),
]
