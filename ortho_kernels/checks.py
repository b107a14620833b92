"""Argument checks in the exact words of every door, stated once for Python.

The native core says the same in C++ (csrc/core); the tests compare the two. Nothing here knows a
framework: what is checked comes in as a `Layout` of plain values, for every Python door to share.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Layout:
    """Where an array lies and what its elements are; `strides` in elements, `address` in bytes."""

    shape: tuple[int, ...]
    dtype: str
    device: str
    strides: tuple[int, ...]
    itemsize: int
    address: int
    read_only: bool = False

    @property
    def is_empty(self) -> bool:
        return 0 in self.shape

    def extent(self) -> tuple[int, int]:
        """The bytes that a view touches, [begin, end)."""
        if self.is_empty:
            return self.address, self.address
        low, high = 0, 1
        for size, stride in zip(self.shape, self.strides, strict=True):
            if stride < 0:
                low += (size - 1) * stride
            else:
                high += (size - 1) * stride
        return self.address + low * self.itemsize, self.address + high * self.itemsize

    def overlaps_itself(self) -> bool:
        """Whether two indices name one element; exact for slices, transposes and expansions."""
        dims = zip(self.shape, self.strides, strict=True)
        reach = 0
        for stride, size in sorted((abs(stride), size) for size, stride in dims if size > 1):
            if stride <= reach:
                return True
            reach += (size - 1) * stride
        return False

    def is_same_view(self, other: Layout) -> bool:
        return self.address == other.address and all(
            size <= 1 or ours == theirs
            for size, ours, theirs in zip(self.shape, self.strides, other.strides, strict=True)
        )


def overlap(a: Layout, b: Layout) -> bool:
    """Whether the bytes of two arrays may meet: their extents do, on one device."""
    (begin, end), (other_begin, other_end) = a.extent(), b.extent()
    return a.device == b.device and begin < other_end and other_begin < end


def quoted(names: Iterable[str], last: str = "or") -> str:
    """'a', 'b' or 'c'."""
    words = [repr(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def check_dtype(op: str, name: str, dtype: str) -> None:
    if dtype not in DTYPES:
        raise TypeError(f"{op}: {name} must be float16, bfloat16, float32 or float64, got {dtype}")


def check_matrices(op: str, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """What every op on matrices asks of an input: a floating dtype and two dimensions."""
    check_dtype(op, name, dtype)
    if len(shape) < 2:
        raise ValueError(f"{op}: {name} must have at least 2 dimensions, got shape {shape}")


def check_row_blocks(op: str, name: str, shape: tuple[int, ...], row_blocks: int) -> None:
    if row_blocks > 1 and shape[0] % row_blocks != 0:
        raise ValueError(
            f"{op}: {name} must have a first dimension divisible by {row_blocks} row blocks, "
            f"got shape {shape}"
        )


def check_like(op: str, name: str, like: str, out: Layout, x: Layout) -> None:
    """That an output has the shape, dtype and device of its input `x`, which errors call `like`."""
    if out.shape != x.shape:
        raise ValueError(f"{op}: {name} must have shape {x.shape}, got {out.shape}")
    if out.dtype != x.dtype:
        raise TypeError(f"{op}: {name} must be {x.dtype} like {like}, got {out.dtype}")
    if out.device != x.device:
        raise ValueError(f"{op}: {name} must be on {x.device} like {like}, got {out.device}")


def check_output(op: str, name: str, like: str, out: Layout, x: Layout) -> None:
    """What is asked of an output beside its own input."""
    check_like(op, name, like, out, x)
    if out.read_only:
        raise ValueError(f"{op}: {name} must be writable, got a read-only array")
    if out.is_empty:
        return
    if out.overlaps_itself():
        raise ValueError(f"{op}: {name} must not overlap itself, got strides {out.strides}")
    if overlap(out, x) and not out.is_same_view(x):
        raise ValueError(f"{op}: {name} must not overlap {like} unless it is the same memory")


def check_distinct(op: str, outs: Sequence[Layout], xs: Sequence[Layout]) -> None:
    """That in a call on many tensors no output meets another tensor's output or input."""
    taken = sorted((out.device, *out.extent(), i) for i, out in enumerate(outs) if not out.is_empty)
    for (device, _, end, i), (other_device, other_begin, _, j) in pairwise(taken):
        if device == other_device and other_begin < end:
            raise ValueError(f"{op}: out[{max(i, j)}] must not overlap out[{min(i, j)}]")
    for j, x in enumerate(xs):
        begin, end = x.extent()
        first = bisect_right(
            taken, (x.device, begin)
        )  # the outputs are disjoint, hence sorted by end
        for device, other_begin, other_end, i in taken[max(first - 1, 0) :]:
            if device != x.device or other_begin >= end:
                if (device, other_begin) >= (x.device, end):
                    break
                continue  # the one before the first may lie on another device
            if i != j and begin < other_end:
                raise ValueError(f"{op}: out[{i}] must not overlap tensors[{j}]")


def check_disjoint(op: str, arrays: Sequence[tuple[str, Layout, bool]]) -> None:
    """That no array which is written meets another; each comes as name, layout, written or not."""
    extents = [
        (x.device, *x.extent(), name, written) for name, x, written in arrays if not x.is_empty
    ]
    # What reaches furthest so far: (device, True) of all arrays, which those that are written may
    # not meet; (device, False) of those that are written, which nobody may.
    furthest: dict[tuple[str, bool], tuple[int, str]] = {}
    for device, begin, end, name, written in sorted(extents, key=lambda extent: extent[:2]):
        reach, other = furthest.get((device, written), (begin, ""))
        if reach > begin:
            first, second = (name, other) if written else (other, name)
            raise ValueError(f"{op}: {first} must not overlap {second}")
        for key in ((device, True), (device, False)) if written else ((device, True),):
            if end > furthest.get(key, (begin, ""))[0]:
                furthest[key] = (end, name)


def refuse_backend(op: str, backend: str, reason: str) -> NoReturn:
    raise RuntimeError(f"{op}: backend {backend!r} cannot serve this call: {reason}")
