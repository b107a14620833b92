"""The last gradients of some tensors, as they are or sketched, and their top eigenpair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import ortho_kernels as ok

_CHUNK = 1 << 22  # numbers of the window that are float64 at a time


class GradientWindow:
    """One part of what `TopEigenpair` watches.

    params: its tensors; eigenvalue, cosine: the latest; steps: gradients recorded; skipped:
    gradients that were not finite and left no trace.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        rows: int,
        *,
        sigma: float = 1.0,
        dim: int | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        backend: str | None = None,
    ) -> None:
        self.params, self.sigma = list(params), sigma
        self.dim, self.seed, self.backend = dim, seed, backend
        self.eigenvalue = self.cosine = 0.0
        self.steps = self.skipped = 0
        numbers = sum(p.numel() for p in self.params) if dim is None else dim
        device = self.params[0].device
        self._window = torch.zeros(rows, numbers, dtype=dtype, device=device)
        self._gram = torch.zeros(rows, rows, dtype=torch.float64, device=device)
        self._coefficients = torch.zeros(rows, dtype=torch.float64, device=device)

    @property
    def filled(self) -> int:
        return min(self.steps, len(self._window))

    def update(self) -> bool:
        """Records the gradients, zeros where there is none; whether there was any, and finite."""
        if all(p.grad is None for p in self.params):
            return False
        gradients = list(map(_gradient, self.params))
        if self.dim is not None:
            gradients = [ok.sketch(gradients, self.dim, seed=self.seed, backend=self.backend)]
        rows = len(self._window)
        eigenvalue, cosine = ok.window_step_(
            self._window,
            self._gram,
            self._coefficients,
            gradients,
            self.steps % rows,
            min(self.steps + 1, rows),
            sigma=self.sigma,
            backend=self.backend,
        ).tolist()
        if math.isnan(eigenvalue):
            self.skipped += 1
            return False
        self.steps += 1
        self.eigenvalue, self.cosine = eigenvalue, cosine
        return True

    def vector(self) -> list[Tensor]:
        """v, one tensor for each of `params` and shaped like it, float64, of norm 1 together."""
        self._refuse_sketched("vector")
        return self._shaped(self._combine(self._coefficients[: self.filled]))

    def topk(self, k: int) -> Tensor:
        """The window's k largest eigenvalues in the scale of `eigenvalue`, the largest first."""
        values, _ = self._eigh(k)
        return values

    def top_vectors(self, k: int) -> list[list[Tensor]]:
        """Their eigenvectors, each as `vector` gives one."""
        self._refuse_sketched("top_vectors")
        values, rows = self._eigh(k)
        scale = values * self.sigma * math.sqrt(max(self.filled, 1))  # sqrt(mu)
        combined = [self._combine(row / s) for row, s in zip(rows, scale, strict=True) if s > 0]
        return list(map(self._shaped, combined))

    def residual(self) -> float:
        """||S^T S v - r v|| / r for r = v^T S^T S v: 0 where v is an eigenvector of the window."""
        c, gram = self._coefficients[: self.filled], self._gram[: self.filled, : self.filled]
        image = gram @ c
        rayleigh = float(image @ image)
        if rayleigh == 0:
            return 0.0
        difference = image - rayleigh * c
        return math.sqrt(max(float(difference @ (gram @ difference)), 0.0)) / rayleigh

    def state_dict(self) -> dict[str, Any]:
        return {
            "window": self._window,
            "gram": self._gram,
            "coefficients": self._coefficients,
            "eigenvalue": self.eigenvalue,
            "cosine": self.cosine,
            "steps": self.steps,
            "skipped": self.skipped,
            "sketch": None if self.dim is None else (self.dim, self.seed),
        }

    def check_state(self, state: dict[str, Any]) -> None:
        """That `state` is of a window like this one."""
        sketch = None if self.dim is None else (self.dim, self.seed)
        theirs = None if state["sketch"] is None else tuple(state["sketch"])
        if theirs != sketch:
            raise ValueError(f"TopEigenpair: sketch must be {sketch} as here, got {theirs}")
        for name, own in (("shape", tuple(self._window.shape)), ("dtype", self._window.dtype)):
            got = getattr(state["window"], name)
            got = tuple(got) if name == "shape" else got
            if got != own:
                raise ValueError(f"TopEigenpair: window must have {name} {own}, got {got}")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.check_state(state)
        self._window.copy_(state["window"])
        self._gram.copy_(state["gram"])
        self._coefficients.copy_(state["coefficients"])
        self.eigenvalue, self.cosine = float(state["eigenvalue"]), float(state["cosine"])
        self.steps, self.skipped = int(state["steps"]), int(state["skipped"])

    # ---- Inside ----------------------------------------------------------------------------------

    def _refuse_sketched(self, what: str) -> None:
        if self.dim is not None:
            raise RuntimeError(
                f"TopEigenpair: {what} must have the gradients themselves, got a window of "
                f"sketches (dim={self.dim})"
            )

    def _eigh(self, k: int) -> tuple[Tensor, Tensor]:
        """Eigenvalues and rows of coefficients of the k largest, as many as there are."""
        if k < 1:
            raise ValueError(f"TopEigenpair: k must be >= 1, got {k}")
        if self.filled == 0:
            return self._gram.new_zeros(0), self._gram.new_zeros(0, 0)
        mu, u = torch.linalg.eigh(self._gram[: self.filled, : self.filled])
        mu, u = mu.flip(0)[:k], u.flip(1)[:, :k]
        return mu.clamp_min(0.0).div(self.filled).sqrt() / self.sigma, u.T

    def _combine(self, coefficients: Tensor) -> Tensor:
        """S^T c."""
        rows = self._window[: self.filled]
        columns = max(1, _CHUNK // max(self.filled, 1))
        out = torch.empty(rows.shape[1], dtype=torch.float64, device=rows.device)
        for begin in range(0, rows.shape[1], columns):
            some = slice(begin, begin + columns)
            out[some] = coefficients @ rows[:, some].to(torch.float64)
        return out

    def _shaped(self, flat: Tensor) -> list[Tensor]:
        pieces = torch.split(flat, [p.numel() for p in self.params])
        return [piece.view(p.shape) for piece, p in zip(pieces, self.params, strict=True)]


def _gradient(param: Tensor) -> Tensor:
    grad = param.grad
    if grad is None:
        return torch.zeros((), dtype=param.dtype, device=param.device).expand(param.shape)
    if grad.layout != torch.strided:
        raise TypeError(f"TopEigenpair: gradients must be dense, got {grad.layout}")
    return grad.detach()
