"""The Python door over time: nothing kept, the right stream, many threads at once."""

from __future__ import annotations

import gc
import resource
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from dlpack_producers import CUDA, CapsulesOnly, Producer, with_exchange_api
from door_cases import EXACT, F32, FOREIGN, _native, matrix, polar, same_bits

# ---- Lifetimes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("versioned", [True, False])
def test_capsules_are_consumed_once(versioned):
    x, out = (
        Producer(matrix(3, 4), versioned=versioned),
        Producer(matrix(3, 4), versioned=versioned),
    )
    _native.polar(EXACT, x, out)
    assert (x.deleted, out.deleted) == (1, 1)
    name = "dltensor_versioned" if versioned else "dltensor"
    assert f'"used_{name}"' in repr(x.capsule)
    assert x.asked[0] == {"max_version": (1, 0)}
    assert x.asked[1:] == ([] if versioned else [{}])

    class Used(Producer):
        def __dlpack__(self, **keywords: Any) -> Any:
            return x.capsule

    with pytest.raises(TypeError, match=r"whose __dlpack__ returns a fresh capsule, got Used$"):
        _native.polar(EXACT, Used(matrix(3, 4)), out)
    assert (x.deleted, out.deleted) == (1, 1)


def test_capsules_are_given_back_after_an_error():
    x, out = Producer(matrix(3, 4)), Producer(matrix(4, 3))
    with pytest.raises(ValueError, match="must have shape"):
        _native.polar(EXACT, x, out)
    assert (x.deleted, out.deleted) == (1, 1)
    with pytest.raises(TypeError, match="must be an array with __dlpack__"):
        _native.polar(EXACT, x, None)
    assert x.deleted == 2
    newer = Producer(matrix(3, 4), major=2)
    with pytest.raises(
        TypeError, match=r"^polar: x must be an array that speaks DLPack 1, got Prod"
    ):
        _native.polar(EXACT, newer, out)
    assert newer.deleted == 1


def test_the_exchange_api_is_used():
    lends, exports, too_new = (
        with_exchange_api(), with_exchange_api(borrows=False), with_exchange_api(major=2)
    )  # fmt: skip
    for kind, exchanged, deleted in ((lends, 2, 0), (exports, 2, 1), (too_new, 0, 1)):
        x, out = kind(matrix(3, 4)), kind(matrix(3, 4))
        _native.polar(EXACT, x, out)
        assert (kind.exchanged, x.deleted, out.deleted) == (exchanged, deleted, deleted)
        assert len(x.asked) == (0 if exchanged else 1)


def test_nothing_is_kept_or_leaked():
    arrays = [matrix(4, 4), matrix(4, 4), torch.zeros(4, 4), torch.zeros(4, 4), [1.0]]
    counted = [*arrays, EXACT, np.ndarray, torch.Tensor, list, (1, 0)]

    def calls(n: int) -> None:
        for _ in range(n):
            _native.polar(EXACT, arrays[0], arrays[1])
            _native.polar(EXACT, arrays[2], arrays[3])
            _native.polar_foreach(EXACT, arrays[:4:2], arrays[1:4:2], None)
            for bad in (arrays[4], F32, FOREIGN):
                with pytest.raises((TypeError, ValueError)):
                    _native.polar(EXACT, arrays[0], bad)

    calls(200)
    gc.collect()
    before = [sys.getrefcount(o) for o in counted]
    nones = sys.getrefcount(None)  # everybody's: it may fall, but not rise with the calls
    blocks = sys.getallocatedblocks()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    calls(1000)
    gc.collect()
    after = [sys.getrefcount(o) for o in counted]
    # Others may let go of a type meanwhile, so counts may fall; a leak would be 1000 or more.
    assert all(count <= most for count, most in zip(after, before, strict=True)), (before, after)
    assert sys.getrefcount(None) - nones < 500
    # 7000 calls: one object kept by each would be that many blocks, and 64 bytes each 440 KiB.
    assert sys.getallocatedblocks() - blocks < 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 400


def test_types_are_not_kept_alive_for_ever():
    kinds = [type(f"Array{i}", (CapsulesOnly,), {}) for i in range(200)]
    for kind in kinds:
        _native.polar(EXACT, kind(F32), kind(F32.copy()))
    alive = weakref.WeakSet(kinds)
    kind = None
    kinds.clear()
    gc.collect()
    assert 0 < len(alive) <= 16


# ---- Streams: which one CUDA producers are asked to be ready on; no card is needed to ask --------


def ask_on_cuda(*producers: Producer) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        _native.polar(EXACT, *producers)


def test_streams():
    x, out = Producer(F32, device=CUDA), Producer(F32, device=CUDA)
    ask_on_cuda(x, out)  # no exchange API in the call: CUDA's default stream, which None means
    assert x.asked == out.asked == [{"max_version": (1, 0)}]

    streaming = with_exchange_api(stream=4711)
    for pair in ((x, streaming(F32, device=CUDA)), (streaming(F32, device=CUDA), x)):
        x.asked.clear()
        ask_on_cuda(*pair)
        assert x.asked == [{"max_version": (1, 0), "stream": 4711}]
    old = Producer(F32, device=CUDA, versioned=False)
    ask_on_cuda(streaming(F32, device=CUDA), old)
    assert old.asked == [{"max_version": (1, 0), "stream": 4711}, {"stream": 4711}]


def test_host_arrays_are_asked_for_no_stream():
    x, out = with_exchange_api(stream=4711)(F32, device=CUDA), Producer(F32)
    ask_on_cuda(x, out)
    assert out.asked == [{"max_version": (1, 0)}]
    out = Producer(F32)
    _native.polar(EXACT, with_exchange_api(stream=4711)(F32.copy()), out)  # the stream of no device
    assert out.asked == [{"max_version": (1, 0)}]


# ---- Threads -------------------------------------------------------------------------------------


def test_many_threads_at_once():
    xs = [matrix(2 + i % 7, 3 + i % 5, seed=i) for i in range(64)]
    wanted = [polar(x) for x in xs]

    def call(i: int) -> bool:
        out = np.zeros_like(xs[i])
        source, target = (torch.from_numpy(xs[i]), torch.from_numpy(out)) if i % 2 else (xs[i], out)
        _native.polar(EXACT, source, target)
        return same_bits(out, wanted[i])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, list(range(64)) * 20))


def test_the_gil_is_free_while_a_kernel_runs():
    x = matrix(8, 200, 400)
    began, ended, ticks = [0.0], [0.0], []

    def kernel() -> None:
        out = np.empty_like(x)
        began[0] = time.perf_counter()
        _native.polar(EXACT, x, out)
        ended[0] = time.perf_counter()

    thread = threading.Thread(target=kernel)
    thread.start()
    while thread.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(1e-4)
    # A kernel that held the GIL would let this thread run at its very ends only.
    took = ended[0] - began[0]
    assert any(began[0] + 0.2 * took < tick < ended[0] - 0.2 * took for tick in ticks)
