"""Small networks on data that packages ship, for gradients as they come.

``basic_cnn``: the demo's network, on scikit-learn's digits at 32 x 32 x 3, SGDM.
``resnet20``: pre-activation ResNet-20 on scikit-learn's digits at 32 x 32 x 3, batch 128, SGDM.
``transformer``: four layers of width 128 with LayerNorm and no biases, on the source text of
Python's own standard library, byte by byte, 2,048 tokens a batch, AdamW.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise, repeat
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from demo import data
from demo.model import BasicCNN

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Training:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches
    loss: Callable[[Tensor, Tensor], Tensor]


# ---- ResNet-20 -----------------------------------------------------------------------------------


class PreActivationBlock(nn.Module):
    """The shortcut has no weights: it takes every second pixel and adds channels of zeros."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.stride = out // into
        self.norm1, self.norm2 = nn.BatchNorm2d(into), nn.BatchNorm2d(out)
        self.conv1 = nn.Conv2d(into, out, 3, self.stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(functional.relu(self.norm1(x)))
        y = self.conv2(functional.relu(self.norm2(y)))
        added = y.shape[1] - x.shape[1]
        return y + functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, added))


class ResNet20(nn.Sequential):
    def __init__(self) -> None:
        widths = [16] * 4 + [32] * 3 + [64] * 3
        super().__init__(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            *(PreActivationBlock(a, b) for a, b in pairwise(widths)),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, data.CLASSES),
        )


def resnet20(batch: int = 128) -> Training:
    return _on_digits(ResNet20(), batch)


def basic_cnn(batch: int = 32) -> Training:
    return _on_digits(BasicCNN(), batch)


def _on_digits(model: nn.Module, batch: int) -> Training:
    digits = data.load()
    epochs = (data.batches(digits, batch, torch.Generator().manual_seed(i)) for i in range(10**6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    batches = chain.from_iterable(epochs)
    return Training(model, optimizer, batches, functional.cross_entropy)


# ---- Transformer ---------------------------------------------------------------------------------

BYTES = 256


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        linear = partial(nn.Linear, bias=False)
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, bias=False) for _ in range(2))
        self.query, self.key, self.value = (linear(width, width) for _ in range(3))
        self.out = linear(width, width)
        self.up, self.down = linear(width, 4 * width), linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = (
            part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        added: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return added


class Transformer(nn.Module):
    def __init__(self, length: int, width: int = 128, heads: int = 4, layers: int = 4) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(BYTES, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, BYTES, bias=False)
        for embedding in (self.token, self.place):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def transformer(tokens: int = 2048, length: int = 128) -> Training:
    model = Transformer(length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    text = as_tokens(standard_library())
    generator = torch.Generator().manual_seed(0)
    batches = text_batches(text, tokens // length, length, generator)
    return Training(model, optimizer, batches, next_byte_loss)


def next_byte_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def standard_library() -> list[bytes]:
    """The source text of its top-level modules, file by file."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    return [path.read_bytes() for path in sorted(folder.glob("*.py"))]


def as_tokens(files: Iterable[bytes]) -> Tensor:
    return torch.frombuffer(bytearray(b"".join(files)), dtype=torch.uint8).long()


def text_batches(text: Tensor, batch: int, length: int, generator: torch.Generator) -> Batches:
    """Random pieces of the text, and the same one byte later."""
    for _ in repeat(None):
        starts = torch.randint(len(text) - length - 1, (batch, 1), generator=generator)
        pieces = text[starts + torch.arange(length + 1)]
        yield pieces[:, :-1], pieces[:, 1:]


NETWORKS: dict[str, Callable[[], Training]] = {"resnet20": resnet20, "transformer": transformer}
