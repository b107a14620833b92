"""The count-sketch of a list of arrays, taken as one vector; docs/ops/sketch.md states the hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = 2**64


def mix(z: int) -> int:
    """The finalizer of SplitMix64."""
    z = (z + 0x9E3779B97F4A7C15) % WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def words(seed: int, begin: int, end: int) -> NDArray[np.uint64]:
    """The 32-bit hashes of indices that agree in their upper 32 bits."""
    key = mix(mix(seed % WORD) ^ (begin >> 32))
    mask, addend, lower = (np.uint64(one) for one in (key % 2**32, key >> 32, 2**32 - 1))
    x = (np.arange(begin, end, dtype=np.uint64) & lower) ^ mask
    x = (((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) + addend) & lower
    x = ((x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B)) & lower
    hashed: NDArray[np.uint64] = x ^ (x >> np.uint64(16))
    return hashed


def block_size(dim: int) -> int:
    """Sums run over blocks of this many elements, in order, and then over the blocks."""
    return max(2**16, 1 << (8 * dim - 1).bit_length())


def sketch(arrays: Sequence[Any], dim: int, seed: int) -> NDArray[np.float32]:
    flat = [np.asarray(x, np.float64).reshape(-1) for x in arrays]
    x = np.concatenate([np.zeros(0), *flat])
    total = np.zeros(dim)
    block = block_size(dim)
    for begin in range(0, x.size, block):
        part = x[begin : begin + block]
        word = words(seed, begin, begin + part.size)
        bucket = ((word * np.uint64(dim)) >> np.uint64(32)).astype(np.int64)
        signed = np.where(word & np.uint64(1), -part, part)
        total += np.bincount(bucket, weights=signed, minlength=dim)
    return total.astype(np.float32)
