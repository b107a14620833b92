"""What the optimiser tests share: models, planted gradients, and algorithm 6 composed by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ortho_kernels.reference.polar import polar as reference_polar

# The orthogonalised weights of the thesis's BasicCNN and ResNet-20 (option A shortcuts).
BASIC_CNN = [(32, 3, 3, 3), (32, 32, 3, 3), (32, 32, 3, 3), (10, 512)]
RESNET_20 = [
    (16, 3, 3, 3),
    *[(16, 16, 3, 3)] * 6,
    (32, 16, 3, 3),
    *[(32, 32, 3, 3)] * 5,
    (64, 32, 3, 3),
    *[(64, 64, 3, 3)] * 5,
    (10, 64),
]


def small_side(shape: Sequence[int]) -> int:
    return min(shape[0], int(torch.Size(shape[1:]).numel()))


@functools.cache
def planted(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A gradient of full rank and condition number 4: singular values from 1 to 1/4."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(
        shape[0], int(torch.Size(shape[1:]).numel()), generator=generator, dtype=torch.float64
    )
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    spectrum = torch.linspace(1.0, 0.25, len(s), dtype=torch.float64)
    return (u @ torch.diag(spectrum) @ vh).reshape(tuple(shape)).to(dtype)


def polar_by_hand(grad: Tensor) -> Tensor:
    """The reference, a float64 SVD, on the gradient flattened from dimension 1."""
    factor = reference_polar(grad.detach().flatten(1).double().numpy())
    return torch.from_numpy(factor).reshape(grad.shape).to(grad.dtype)


def step_by_hand(optimizer: Optimizer, matrices: Iterable[Tensor]) -> None:
    """Algorithm 6, literally: overwrite the gradients, then let torch's own optimiser step."""
    for param in matrices:
        if param.grad is not None:
            param.grad = polar_by_hand(param.grad)
    optimizer.step()


class Net(nn.Module):
    """One of each: three kinds of convolution, norm, linear, embedding, a matrix of no layer."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, dtype=dtype)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, dtype=dtype)
        self.norm = nn.BatchNorm2d(4, dtype=dtype)
        self.up = nn.ConvTranspose2d(4, 2, 2, dtype=dtype)
        self.embedding = nn.Embedding(5, 6, dtype=dtype)
        self.head = nn.Linear(2 * 5 * 5, 6, dtype=dtype)
        self.mix = nn.Parameter(torch.eye(6, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        features = self.up(self.norm(self.grouped(self.conv(x)).tanh())).flatten(1)
        tokens = self.embedding(torch.arange(len(x)) % 5)
        return (self.head(features) + tokens) @ self.mix


LAYERS = ["conv.weight", "grouped.weight", "up.weight", "head.weight"]
MATRICES = ["mix", "conv.weight", "grouped.weight", "up.weight", "embedding.weight", "head.weight"]


def make_net(seed: int = 0, dtype: torch.dtype = torch.float64) -> Net:
    torch.manual_seed(seed)
    return Net(dtype)


def batch(step: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 + step)
    x = torch.randn(8, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x.to(dtype), torch.randint(6, (8,), generator=generator)


def backward(
    model: nn.Module, step: int, scale: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    x, y = batch(step, next(model.parameters()).dtype)
    loss = nn.functional.cross_entropy(model(x), y)
    (loss if scale is None else scale(loss)).backward()
    return loss.detach()


def train(model: nn.Module, optimizer: Optimizer, steps: Iterable[int]) -> None:
    for step in steps:
        optimizer.zero_grad()
        backward(model, step)
        optimizer.step()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: param.detach().clone() for name, param in model.named_parameters()}


def assert_same_bits(a: dict[str, Tensor], b: dict[str, Tensor], but: Iterable[str] = ()) -> None:
    assert a.keys() == b.keys()
    different = {name for name in a if not torch.equal(a[name], b[name])}
    assert different == set(but)


def relative_error(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[n] - b[n]).norm() / b[n].norm().clamp_min(1e-300)) for n in a)


BASES: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.01}),
    "momentum": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}),
    "dampening": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "dampening": 0.3}),
    "nesterov": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 1e-2}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 1e-2}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01}),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.01}),
}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
