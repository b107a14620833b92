"""The gradients that orthogonalisation sees, by model: weights of convolutions and linear layers.

Shapes are those of the weights themselves, (out, in, height, width) or (out, in), in the order of
the forward pass; ``matrices`` gives them flattened from dimension 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

Shape = tuple[int, ...]


def _conv(out: int, into: int, kernel: int) -> Shape:
    return out, into, kernel, kernel


def _basic_cnn() -> Iterator[Shape]:
    """Three strided 3 x 3 convolutions on 32 x 32 images, ten classes: the model of the demo."""
    yield from (_conv(32, 3, 3), _conv(32, 32, 3), _conv(32, 32, 3), (10, 512))


def _resnet20() -> Iterator[Shape]:
    """He et al. for CIFAR-10, with shortcuts that have no weights (their option A)."""
    yield _conv(16, 3, 3)
    into = 16
    for out in (16, 32, 64):
        for _ in range(3):
            yield from (_conv(out, into, 3), _conv(out, out, 3))
            into = out
    yield 10, 64


def _resnet18() -> Iterator[Shape]:
    """For ImageNet, two basic blocks a stage, projections where the width changes."""
    yield _conv(64, 3, 7)
    into = 64
    for out in (64, 128, 256, 512):
        for _ in range(2):
            yield from (_conv(out, into, 3), _conv(out, out, 3))
            if into != out:
                yield _conv(out, into, 1)
            into = out
    yield 1000, 512


def _resnet50() -> Iterator[Shape]:
    """For ImageNet, bottleneck blocks of 3, 4, 6 and 3, a projection at the head of each stage."""
    yield _conv(64, 3, 7)
    into = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            yield from (_conv(width, into, 1), _conv(width, width, 3), _conv(4 * width, width, 1))
            if block == 0:
                yield _conv(4 * width, into, 1)
            into = 4 * width
    yield 1000, 2048


def _vit_s() -> Iterator[Shape]:
    """ViT-S/16: patches of 16 x 16, width 384, twelve blocks, one matrix for query, key, value."""
    yield _conv(384, 3, 16)
    for _ in range(12):
        yield from ((1152, 384), (384, 384), (1536, 384), (384, 1536))
    yield 1000, 384


def _gpt2_block() -> Iterator[Shape]:
    """One block of GPT-2 small, query, key and value as matrices of their own."""
    yield from [(768, 768)] * 4
    yield from ((3072, 768), (768, 3072))


def _llama_block() -> Iterator[Shape]:
    """One block of a Llama-style model of 1B: 32 query heads over 8 key-value heads, gated MLP."""
    yield from ((2048, 2048), (512, 2048), (512, 2048), (2048, 2048))
    yield from ((8192, 2048), (8192, 2048), (2048, 8192))


def _odd_bag() -> Iterator[Shape]:
    """Nothing that a tile, a batch or a power of two fits: no model, a trial of the edges."""
    yield from ((7, 500), (24, 200), (31, 31), (48, 333), (96, 864), (100, 1200), (130, 70))


_MAKERS: dict[str, Callable[[], Iterator[Shape]]] = {
    "basiccnn": _basic_cnn,
    "resnet20": _resnet20,
    "resnet18": _resnet18,
    "resnet50": _resnet50,
    "vit-s": _vit_s,
    "gpt2-block": _gpt2_block,
    "llama-1b-block": _llama_block,
    "odd-bag": _odd_bag,
}
MODELS = tuple(_MAKERS)


def weights(model: str) -> list[Shape]:
    """The shapes of one model's gradients; ``model`` is one of ``MODELS``."""
    if model not in _MAKERS:
        raise ValueError(f"shapes: model must be one of {', '.join(MODELS)}, got {model!r}")
    return list(_MAKERS[model]())


def matrices(model: str) -> list[tuple[int, int]]:
    """The same as matrices: (components, parameters of each)."""
    return [(shape[0], prod(shape[1:])) for shape in weights(model)]
