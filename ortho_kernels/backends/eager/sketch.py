"""The count-sketch, block by block; docs/ops/sketch.md has the hash and the order of sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ortho_kernels.backends.eager.serves import dense_only

_LONG = 2**64
_LOWER = 2**32 - 1


def supports_sketch(tensors: Sequence[Tensor]) -> str:
    return next(filter(None, map(dense_only, tensors)), "")


def sketch(tensors: Sequence[Tensor], seed: int, out: Tensor) -> None:
    if out.is_meta:
        return
    dim = out.numel()
    block = max(2**16, 1 << (8 * dim - 1).bit_length())
    total = torch.zeros(dim, dtype=torch.float64, device=out.device)
    buckets = torch.zeros_like(total)
    for begin, part in _parts(tensors, block):
        if begin % block == 0:
            total += buckets
            buckets.zero_()
        word = _words(seed, begin, part.numel(), out.device)
        x = part.to(torch.float64)
        buckets.index_add_(0, (word * dim) >> 32, torch.where((word & 1).bool(), -x, x))
    out.copy_(total + buckets)


def _parts(tensors: Sequence[Tensor], block: int) -> Iterator[tuple[int, Tensor]]:
    """The list as pieces that straddle no two blocks, with where each begins."""
    begin = 0
    for tensor in tensors:
        flat = tensor.reshape(-1)
        done = 0
        while done < flat.numel():
            n = min(flat.numel() - done, block - begin % block)
            yield begin, flat[done : done + n]
            begin, done = begin + n, done + n


def _mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) % _LONG
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % _LONG
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % _LONG
    return z ^ (z >> 31)


def _words(seed: int, begin: int, n: int, device: torch.device) -> Tensor:
    """32-bit hashes in int64, whose products wrap but keep their lower half."""
    key = _mix(_mix(seed % _LONG) ^ (begin >> 32))
    lower = begin & _LOWER
    x = torch.arange(lower, lower + n, dtype=torch.int64, device=device) ^ (key & _LOWER)
    x = ((x ^ (x >> 16)) * 0x7FEB352D + (key >> 32)) & _LOWER
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _LOWER
    return x ^ (x >> 16)
