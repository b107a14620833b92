"""The native door: the C ABI of csrc/include/ortho/ortho.h for arrays that speak DLPack.

Arrays are read in place, on the CPU or on CUDA; `out`, and what an op whose name ends in `_` steps
on, is written in place. Errors are the library's own words in a ValueError (shapes, options), a
TypeError (dtypes, things that are no arrays) or a RuntimeError (devices). The GIL is free while a
kernel runs. Gradients are not tracked, and torch's lazy negative views are read as they are stored:
`torch.ops` resolves both before it comes here.
"""

from collections.abc import Sequence
from typing import Any, Protocol

class _Array(Protocol):
    def __dlpack__(self, *, stream: Any | None = ...) -> Any: ...

class PolarOptions:
    """What `polar` does to a matrix: checked and laid out once, used for many calls."""

    def __init__(
        self,
        method: str,  # "exact" | "polynomial" | "newton"
        *,
        coefficients: Sequence[float] | None = None,  # polynomial: 3 numbers per step, in one row
        precision: str = "float32",  # polynomial: "float32" | "float16" | "bfloat16"
        rank: str = "truncate",  # exact: "truncate" | "complete"
        rtol: float | None = None,  # exact: None is 4 eps of the input type
    ) -> None: ...

def all_finite(tensors: Sequence[_Array], /) -> bool: ...
def polar(options: PolarOptions, x: _Array, out: _Array, /) -> None: ...
def polar_foreach(
    options: PolarOptions,
    tensors: Sequence[_Array],
    out: Sequence[_Array],
    row_blocks: Sequence[int] | None,  # 0: a batch of matrices; k: flattened, in k blocks of rows
    /,
) -> None: ...
def orthogonal_step_(
    options: PolarOptions,
    weights: Sequence[_Array],  # written, as are the momenta
    gradients: Sequence[_Array],
    momenta: Sequence[_Array],  # empty: none
    row_blocks: Sequence[int],
    scales: Sequence[float],
    fresh: Sequence[bool],  # momenta[i] holds nothing yet
    *,
    placement: str,  # "gradient" | "update"
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    average: bool,
    nesterov: bool,
    maximize: bool,
    decoupled: bool,
) -> None: ...
def frobenius_norm(x: _Array, out: _Array, /) -> None: ...
def sketch(tensors: Sequence[_Array], seed: int, out: _Array, /) -> None: ...
def window_step_(
    window: _Array,  # written, as are gram and coefficients
    gram: _Array,
    coefficients: _Array,
    gradients: Sequence[_Array],
    slot: int,
    filled: int,
    sigma: float,
    out: _Array,  # (2,) float64: eigenvalue, cosine
    /,
) -> None: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def isa() -> str: ...
def cuda_archs() -> str: ...
def version() -> str: ...
