"""Torch tensors in the words of `checks`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks

DTYPES = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64))


def words(dtype_or_device: torch.dtype | torch.device) -> str:
    """ "float32", "cuda:0"."""
    return str(dtype_or_device).removeprefix("torch.")


def check_tensor(op: str, name: str, x: Any) -> None:
    """For arguments that the dispatcher would refuse in words of its own."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: {name} must be a torch.Tensor, got {type(x).__name__}")


def check_tensors(op: str, name: str, xs: Sequence[Any]) -> None:
    """The same of a list of them."""
    if not all(map(isinstance, xs, repeat(Tensor))):
        for i, x in enumerate(xs):
            check_tensor(op, f"{name}[{i}]", x)


def check_matrices(op: str, name: str, x: Tensor) -> None:
    if x.dtype not in DTYPES or x.dim() < 2:
        checks.check_matrices(op, name, words(x.dtype), tuple(x.shape))


def check_elements(op: str, name: str, xs: Sequence[Tensor]) -> None:
    """The tensors of a call that reads their elements in whatever shape, on one device."""
    for i, x in enumerate(xs):
        if x.dtype not in DTYPES:
            checks.check_dtype(op, f"{name}[{i}]", words(x.dtype))
        if x.device != xs[0].device:
            raise ValueError(
                f"{op}: {name}[{i}] must be on {xs[0].device} like {name}[0], got {x.device}"
            )


def check_inputs(
    op: str, tensors: Sequence[Tensor], row_blocks: Sequence[int], name: str = "tensors"
) -> None:
    """The inputs of a call on many tensors, which its errors call `name`."""
    if len(row_blocks) != len(tensors):
        raise ValueError(
            f"{op}: row_blocks must have length {len(tensors)} like {name}, got {len(row_blocks)}"
        )
    for i, (tensor, blocks) in enumerate(zip(tensors, row_blocks, strict=True)):
        check_matrices(op, f"{name}[{i}]", tensor)
        if blocks < 0:
            raise ValueError(f"{op}: row_blocks[{i}] must be >= 0, got {blocks}")
        if blocks > 1:
            checks.check_row_blocks(op, f"{name}[{i}]", tuple(tensor.shape), blocks)


def check_all_on_meta(op: str, tensors: Sequence[Tensor], name: str = "tensors") -> None:
    """A fake kernel that meets a real tensor was called through a meta tensor beside it."""
    for i, x in enumerate(tensors):
        if type(x) is Tensor and x.device.type != "meta":
            raise ValueError(f"{op}: {name}[{i}] must be on meta like the others, got {x.device}")


def layout(x: Tensor) -> checks.Layout:
    return checks.Layout(
        tuple(x.shape),
        words(x.dtype),
        words(x.device),
        x.stride(),
        x.element_size(),
        x.data_ptr(),
    )


def fake_layout(x: Tensor) -> checks.Layout:
    """Of a tensor without memory, for the checks that need none."""
    return checks.Layout(tuple(x.shape), words(x.dtype), words(x.device), x.stride(), 1, 0)
