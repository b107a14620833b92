"""window_step_: it refuses in words, before it writes, through every door; and is a torch op."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Target, needs_native
from planted import bits
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from window_cases import Window

import ortho_kernels as ok
from ortho_kernels.backends import native

OP = torch.ops.ortho_kernels.window_step_.default
CALL = ("window", "gram", "coefficients", "gradients", "slot", "filled", "sigma")


def arguments(**changed: Any) -> dict[str, Any]:
    window = Window(3, 6)
    window.window.zero_()
    given: dict[str, Any] = dict(
        zip(CALL, (*window.arrays, [torch.ones(2, 3)], 0, 1, 1.0), strict=True)
    )
    return given | changed


BAD: list[tuple[type[Exception], dict[str, Any], str]] = [
    (TypeError, {"window": torch.zeros(3, 6, dtype=torch.int32)},
     "window must be float16, bfloat16, float32 or float64, got int32"),
    (TypeError, {"window": torch.zeros(3, 6, dtype=torch.float64)},
     "window must be float32 or bfloat16, got float64"),
    (ValueError, {"window": torch.zeros(6)},
     "window must have at least 2 dimensions, got shape (6,)"),
    (ValueError, {"window": torch.zeros(1, 3, 6)},
     "window must have shape (rows, numbers), got (1, 3, 6)"),
    (ValueError, {"window": torch.zeros(0, 6)},
     "window must have shape (rows, numbers), got (0, 6)"),
    (ValueError, {"window": torch.zeros(6, 3).T},
     "window must have contiguous rows, got strides (1, 3)"),
    (ValueError, {"window": torch.zeros(6).expand(3, 6)},
     "window must have contiguous rows, got strides (0, 1)"),
    (TypeError, {"gram": torch.zeros(3, 3)}, "gram must be float64, got float32"),
    (TypeError, {"gram": torch.zeros(3, 3, dtype=torch.bool)},
     "gram must be float16, bfloat16, float32 or float64, got bool"),
    (ValueError, {"gram": torch.zeros(3, 4, dtype=torch.float64)},
     "gram must have shape (3, 3), got (3, 4)"),
    (ValueError, {"gram": torch.zeros(3, 6, dtype=torch.float64)[:, ::2]},
     "gram must be contiguous, got strides (6, 2)"),
    (ValueError, {"coefficients": torch.zeros(4, dtype=torch.float64)},
     "coefficients must have shape (3,), got (4,)"),
    (ValueError, {"filled": 0}, "filled must be between 1 and 3 rows, got 0"),
    (ValueError, {"filled": 4}, "filled must be between 1 and 3 rows, got 4"),
    (ValueError, {"slot": 1}, "slot must be between 0 and filled - 1 = 0, got 1"),
    (ValueError, {"slot": -1}, "slot must be between 0 and filled - 1 = 0, got -1"),
    (ValueError, {"sigma": 0.0}, "sigma must be finite and > 0, got 0"),
    (ValueError, {"sigma": float("inf")}, "sigma must be finite and > 0, got inf"),
    (TypeError, {"gradients": [torch.ones(5), torch.ones(1, dtype=torch.complex64)]},
     "gradients[1] must be float16, bfloat16, float32 or float64, got complex64"),
    (ValueError, {"gradients": [torch.ones(5), torch.ones(2)]},
     "gradients must have 6 elements in all like a row of window, got 7"),
    (ValueError, {"gradients": []},
     "gradients must have 6 elements in all like a row of window, got 0"),
]  # fmt: skip
WORDS = [words for _, _, words in BAD]


def refused(error: type[Exception], words: str, call: Callable[[], object]) -> None:
    with pytest.raises(error, match=f"^window_step_: {re.escape(words)}$"):
        call()


@pytest.mark.parametrize(("error", "changed", "words"), BAD, ids=WORDS)
def test_words(target: Target, error: type[Exception], changed: dict[str, Any], words: str) -> None:
    given = arguments(**changed)
    sigma = given.pop("sigma")
    refused(error, words, lambda: ok.window_step_(**given, sigma=sigma, backend=target.backend))


@needs_native
@pytest.mark.parametrize(("error", "changed", "words"), BAD, ids=WORDS)
def test_the_native_door_says_the_same(
    error: type[Exception], changed: dict[str, Any], words: str
) -> None:
    out = torch.full((2,), torch.nan, dtype=torch.float64)
    refused(error, words, lambda: native.module.window_step_(*arguments(**changed).values(), out))
    assert out.isnan().all()


@needs_native
def test_the_native_door_checks_its_output_and_read_only_arrays() -> None:
    def call(out: Any, **changed: Any) -> Callable[[], object]:
        return lambda: native.module.window_step_(*arguments(**changed).values(), out)

    words = "out must have shape (2,), got (3,)"
    refused(ValueError, words, call(torch.zeros(3, dtype=torch.float64)))
    refused(TypeError, "out must be float64, got float32", call(torch.zeros(2)))
    read_only = np.zeros((3, 3))
    read_only.flags.writeable = False
    out = torch.zeros(2, dtype=torch.float64)
    words = "gram must be writable, got a read-only array"
    refused(ValueError, words, call(out, gram=read_only))
    gradient = np.ones(6)
    gradient.flags.writeable = False  # is only read
    call(out, gradients=[gradient])()
    assert out.tolist() == pytest.approx([6**0.5, 1.0])


def test_nothing_that_is_written_may_overlap(target: Target) -> None:
    room = torch.zeros(40, dtype=torch.float64)
    gram, c = room[:9].view(3, 3), room[8:11]
    window = torch.zeros(4, 6)
    for words, changed in (
        ("coefficients must not overlap gram", {"gram": gram, "coefficients": c}),
        ("window must not overlap gradients[0]", {"window": window[:3], "gradients": [window[2]]}),
        ("gram must not overlap gradients[0]", {"gram": gram, "gradients": [room[8:14]]}),
    ):
        given = arguments(**changed)
        sigma = given.pop("sigma")

        def call(given: Any = given, sigma: float = sigma) -> object:
            return ok.window_step_(**given, sigma=sigma, backend=target.backend)

        refused(ValueError, words, call)
    assert not room.any()
    assert not window.any()
    given = arguments(window=window[:3], gradients=[window[3]])
    ok.window_step_(*list(given.values())[:6], backend=target.backend)


def test_things_that_are_no_tensors_and_unknown_backends() -> None:
    given = list(arguments().values())[:6]
    refused(TypeError, "gram must be a torch.Tensor, got NoneType",
            lambda: ok.window_step_(given[0], None, *given[2:]))  # fmt: skip
    refused(TypeError, "gradients[0] must be a torch.Tensor, got int",
            lambda: ok.window_step_(*given[:3], [3], 0, 1))  # fmt: skip
    refused(ValueError, "backend must be None, 'native' or 'eager', got 'fast'",
            lambda: ok.window_step_(*given, backend="fast"))  # fmt: skip


def test_no_gradient_is_silently_lost(target: Target) -> None:
    leaf = torch.ones(6, requires_grad=True)
    given = list(arguments(gradients=[leaf]).values())[:6]
    words = (
        "gradients[0] must not meet automatic differentiation, got a tensor that requires grad; "
        "use torch.no_grad()"
    )
    refused(RuntimeError, words, lambda: ok.window_step_(*given, backend=target.backend))
    with torch.no_grad():
        ok.window_step_(*given, backend=target.backend)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(target: Target, dtype: torch.dtype) -> None:
    window = Window(3, 6, dtype)
    window.window.zero_()
    window.step([torch.arange(6.0)], backend=target.backend)
    args = (*window.arrays, [torch.ones(2), torch.ones(4)], 1, 2, 0.5)
    results = torch.library.opcheck(OP, args, {"backend": target.backend})
    assert set(results.values()) == {"SUCCESS"}, results


@pytest.mark.parametrize("compiler", ["eager", "aot_eager", "inductor"])
def test_compiled(target: Target, compiler: str) -> None:
    torch._dynamo.reset()

    def step(window: Tensor, gram: Tensor, c: Tensor, g: Tensor) -> Tensor:
        before = c.sum()
        out = ok.window_step_(window, gram, c, [2 * g, -g], 1, 2, backend=target.backend)
        return out + before - c.sum()

    plain, compiled = Window(3, 6), Window(3, 6)
    for window in (plain, compiled):
        window.window.zero_()
        window.step([torch.arange(6.0)], backend=target.backend)
    g = torch.tensor([1.0, -2.0, 0.5])
    wanted = step(*plain.arrays, g)
    got = torch.compile(step, fullgraph=True, backend=compiler)(*compiled.arrays, g)
    torch.testing.assert_close(got, wanted)
    assert list(map(bits, compiled.arrays)) == list(map(bits, plain.arrays))


@pytest.mark.parametrize("device", ["cpu", "meta", "cuda"])
def test_fake_tensors(device: str) -> None:
    with FakeTensorMode():
        window = torch.empty(4, 9, device=device, dtype=torch.bfloat16)
        gram = torch.empty(4, 4, device=device, dtype=torch.float64)
        c = torch.empty(4, device=device, dtype=torch.float64)
        given = (window, gram, c, [torch.empty(3, 3, device=device)], 0, 1)
        out = ok.window_step_(*given)
        assert (out.shape, out.dtype, out.device.type) == ((2,), torch.float64, device)
        with pytest.raises(ValueError, match=r"^window_step_: slot must be between"):
            ok.window_step_(*given[:4], 2, 1)


def test_devices_must_agree() -> None:
    given = list(arguments(gradients=[torch.ones(6, device="meta")]).values())[:6]
    with pytest.raises(ValueError, match=r"must be on cpu like window, got meta$"):
        ok.window_step_(*given)
