"""all_finite: exact, whatever the shape, dtype, memory order and place of the one bad number."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import DTYPES, Target
from planted import bits, gaussian

import ortho_kernels as ok
from ortho_kernels.backends import native
from ortho_kernels.reference.all_finite import all_finite as reference

Rng = np.random.Generator
COMPLEX = (torch.complex64, torch.complex128)
SHAPES = [(), (1,), (7,), (3, 0), (16, 27), (3, 5, 7), (2, 3, 4, 5), (1, 2, 1, 2, 1, 2, 1, 2)]
BAD = [float("nan"), -float("nan"), float("inf"), -float("inf")]


def numbers(rng: Rng, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    if dtype in COMPLEX:
        return torch.complex(*(gaussian(rng, *shape, dtype=torch.float64) for _ in "ri")).to(dtype)
    return gaussian(rng, *shape, dtype=dtype) if shape else torch.tensor(-1.5, dtype=dtype)


@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX], ids=str)
def test_each_place_is_read(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    for shape in SHAPES:
        x = numbers(rng, shape, dtype)
        assert target.all_finite([x])
        real = torch.view_as_real(x) if dtype in COMPLEX else x
        flat = real.view(-1)
        for place in range(flat.numel()):
            before = flat[place].clone()
            flat[place] = BAD[place % len(BAD)]
            assert not target.all_finite([x]), (shape, place)
            if shape == (3, 5, 7):
                array = x.to(torch.complex128 if dtype in COMPLEX else torch.float64).numpy()
                assert not reference([array])
            flat[place] = before
    assert reference([np.arange(6.0).reshape(2, 3), np.array(1 - 2j)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_largest_and_smallest_numbers_are_finite(target: Target, dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    ends = [info.max, info.min, info.tiny, info.smallest_normal * info.eps, 0.0, -0.0]
    assert target.all_finite([torch.tensor(ends * 300, dtype=dtype)])  # no sum that overflows


# Views of 840 numbers.
LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": lambda x: x.view(4, 6, 35).mT,
    "channels_last": lambda x: x.view(4, 5, 7, 6).permute(0, 3, 1, 2),
    "every other": lambda x: x.view(4, 6, 5, 7)[:, ::2, 1::3, :],
    "inner dimension left out": lambda x: x.view(4, 6, 5, 7)[..., 2],
    "expanded": lambda x: x.view(4, 1, 5, 42)[:2].expand(-1, 3, -1, -1),
    "one number, expanded": lambda x: x[7].expand(40, 50),
    "overlapping": lambda x: x.unfold(0, 9, 4)[::3],
    "permuted": lambda x: x.view(4, 6, 5, 7).permute(2, 0, 3, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_a_view_what_it_shows_is_read_and_nothing_else(target: Target, layout: str) -> None:
    shown = set(LAYOUTS[layout](torch.arange(840)).flatten().tolist())
    memory = torch.ones(840)
    assert target.all_finite([LAYOUTS[layout](memory)])
    for place in range(840):
        memory[place] = BAD[place % len(BAD)]
        assert target.all_finite([LAYOUTS[layout](memory)]) == (place not in shown), place
        memory[place] = 1


def test_as_many_dimensions_as_there_may_be(target: Target) -> None:
    """Of complex numbers one more than of real ones, if no two of them are one run."""
    for dtype in (torch.float32, torch.complex64):
        memory = torch.zeros([3] * 8, dtype=dtype)
        view = memory[(slice(2),) * 8]
        assert target.all_finite([view])
        view[(1,) * 8] = float("nan")
        assert not target.all_finite([view])
        view[(1,) * 8] = 0
        memory[(2,) * 8] = float("nan")
        assert target.all_finite([view])


def test_negative_strides_and_numpys_arrays(rng: Rng) -> None:
    if native.module is None:
        pytest.skip(native.reason)
    x = rng.standard_normal((5, 6, 7))
    x[0, 1, 2] = np.nan
    assert native.module.all_finite([x[1:]])
    for view in (x[::-1], x[:, ::-1, ::-2], x[::-1, :, ::2].T, x):
        assert native.module.all_finite([view]) == reference([view])
        assert not native.module.all_finite([view])


def test_lists(target: Target, rng: Rng) -> None:
    assert target.all_finite([])
    many = [gaussian(rng, 3, 4, dtype=DTYPES[i % 4]) for i in range(200)]
    assert target.all_finite(many)
    assert target.all_finite(x for x in many)
    before = [bits(x) for x in many]
    for i in (0, 57, 199):
        broken = list(many)
        broken[i] = torch.full_like(many[i], float("inf"))
        assert not target.all_finite(broken)
    assert [bits(x) for x in many] == before


def test_answer_is_a_bool_of_no_dimensions(target: Target) -> None:
    out = ok.all_finite([torch.ones(3)], backend=target.backend)
    assert out.dtype == torch.bool
    assert out.shape == ()
    out.logical_not_()  # the caller's own: the next answer is another tensor
    assert target.all_finite([torch.ones(3)])


@pytest.mark.parametrize("cut", [False, True])
def test_large_tensors_on_threads(
    target: Target, rng: Rng, threads: Callable[[int], None], cut: bool
) -> None:
    threads(2)
    x = torch.zeros(3, 2**19 + 5)
    x = x[:, :-3] if cut else x
    assert target.all_finite([x, torch.ones(7)])
    for place in (0, 1, 2**16 - 1, 2**16, x.numel() // 2, x.numel() - 1):
        index = np.unravel_index(place, x.shape)
        x[index] = float("nan")
        assert not target.all_finite([torch.ones(7), x]), place
        x[index] = 0


@pytest.mark.parametrize(
    ("tensors", "error", "words"),
    [
        (
            [torch.ones(2), torch.ones(3, dtype=torch.int32)],
            TypeError,
            "tensors[1] must be float16, bfloat16, float32, float64, complex64 or complex128, got "
            "int32",
        ),
        ([torch.ones(2), 3], TypeError, "tensors[1] must be a torch.Tensor, got int"),
    ],
)
def test_bad_inputs(
    target: Target, tensors: list[torch.Tensor], error: type[Exception], words: str
) -> None:
    for backend in (target.backend, None):
        with pytest.raises(error, match=f"^all_finite: {re.escape(words)}$"):
            ok.all_finite(tensors, backend=backend)
    with pytest.raises(ValueError, match=r"^all_finite: backend must be None, 'native' or"):
        ok.all_finite([torch.eye(2)], backend="tpu")
    sparse = torch.eye(3).to_sparse()
    with pytest.raises(RuntimeError, match=r"^all_finite: .* needs dense tensors, got torch.sp"):
        ok.all_finite([torch.ones(2), sparse])


def test_the_doors_words_are_the_ops() -> None:
    if native.module is None:
        pytest.skip(native.reason)
    for x in (torch.ones(3, dtype=torch.int32), torch.ones(2, dtype=torch.bool)):
        said = []
        for call in (ok.all_finite, native.module.all_finite):
            with pytest.raises(TypeError) as caught:
                call([torch.ones(2), x])
            said.append(str(caught.value))
        assert said[0] == said[1]
    with pytest.raises(
        ValueError, match=r"^all_finite: tensors\[0\] must have at most 8 dimensions"
    ):
        native.module.all_finite([torch.ones([1] * 9)])


def test_traced_and_compiled(target: Target) -> None:
    op = torch.ops.ortho_kernels.all_finite.default
    torch.library.opcheck(op, ([torch.ones(3, 2), torch.ones(())],), {"backend": target.backend})

    @torch.compile(fullgraph=True, backend="aot_eager", dynamic=False)
    def step(x: torch.Tensor) -> torch.Tensor:
        return torch.where(ok.all_finite([x, x + 1], backend=target.backend), x, 0)

    x = torch.tensor([1.0, 2.0])
    assert step(x).tolist() == [1, 2]
    assert step(x * float("inf")).tolist() == [0, 0]


def test_parameters_and_subclasses(target: Target) -> None:
    class Named(torch.Tensor):
        pass

    weight = torch.nn.Parameter(torch.ones(3))
    assert target.all_finite([weight])
    assert not ok.all_finite([weight, torch.ones(2).as_subclass(Named) * float("nan")])
    assert ok.all_finite([torch.ones(2, device="meta")], backend="eager").device.type == "meta"
