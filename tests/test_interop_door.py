"""The Python door: any DLPack array in, the same bits out, nothing copied, nothing leaked."""

from __future__ import annotations

import gc
import resource
import shutil
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dlpack_producers import CUDA, CUDA_HOST, READ_ONLY, Producer, with_exchange_api

_native = pytest.importorskip("ortho_kernels._native", reason="the native module was not built")

ROOT = Path(__file__).resolve().parent.parent
EXACT = _native.PolarOptions("exact")
DTYPES = ("float16", "float32", "float64")


def matrix(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def polar(x: np.ndarray, options: Any = EXACT) -> np.ndarray:
    """Through the plainest road: contiguous NumPy arrays. The others are compared with it."""
    out = np.empty(x.shape, x.dtype)
    _native.polar(options, np.ascontiguousarray(x), out)
    return out


def same_bits(a: Any, b: Any) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_answer_is_the_polar_factor():
    x = matrix(3, 8, 5)
    u, _, vt = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    assert np.abs(polar(x) - u @ vt).max() < 1e-5


# ---- Every kind of array: the same bits ----------------------------------------------------------


class CapsulesOnly:
    """Whatever it wraps, without the C exchange API."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)


KINDS = {
    "torch": torch.from_numpy,
    "torch that requires grad": lambda a: torch.from_numpy(a).requires_grad_(),
    "torch parameter": lambda a: torch.nn.Parameter(torch.from_numpy(a)),
    "torch by capsule": lambda a: CapsulesOnly(torch.from_numpy(a)),
    "versioned capsule": Producer,
    "unversioned capsule": lambda a: Producer(a, versioned=False),
    "capsule without strides": lambda a: Producer(a, strides=False),
    "capsule with a byte offset": lambda a: Producer(a, byte_offset=a.itemsize),
    "pinned memory": lambda a: Producer(a, device=CUDA_HOST),
    "exchange API": lambda a: with_exchange_api()(a),
    "exchange API that does not lend": lambda a: with_exchange_api(borrows=False)(a),
    "exchange API with an older table": lambda a: with_exchange_api(major=2, older=True)(a),
    "exchange API too new": lambda a: with_exchange_api(major=2)(a),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_whatever_the_array(kind, dtype):
    x = matrix(2, 5, 7, dtype=dtype)
    before, out = x.copy(), np.zeros_like(x)
    _native.polar(EXACT, KINDS[kind](x), KINDS[kind](out))
    assert same_bits(out, polar(before))
    assert same_bits(x, before)


def test_bfloat16_by_capsule_and_by_exchange():
    x = torch.from_numpy(matrix(6, 4)).bfloat16()
    lent, exported = torch.zeros_like(x), torch.zeros_like(x)
    _native.polar(EXACT, x, lent)
    _native.polar(EXACT, CapsulesOnly(x), CapsulesOnly(exported))
    assert lent.abs().sum() > 0
    assert torch.equal(lent.view(torch.int16), exported.view(torch.int16))


LAYOUTS = {
    "transposed": lambda a: a.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "every second": lambda a: np.repeat(np.repeat(a, 2, -1), 2, -2)[..., ::2, ::2],
    "reversed rows": lambda a: a[..., ::-1, :].copy()[..., ::-1, :],
    "reversed columns": lambda a: a[..., ::-1].copy()[..., ::-1],
    "fortran": np.asfortranarray,
    "offset": lambda a: np.pad(a, [(0, 0), (1, 1), (2, 2)])[:, 1:-1, 2:-2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_whatever_the_layout(layout, dtype):
    x = matrix(2, 5, 7, dtype=dtype)
    out = LAYOUTS[layout](np.zeros_like(x))
    _native.polar(EXACT, LAYOUTS[layout](x), out)
    assert same_bits(out, polar(x))


def test_expanded_input_and_output():
    row = matrix(1, 6)
    wide = np.broadcast_to(row, (4, 6))  # one row four times: rank one, and read-only
    assert same_bits(polar(wide), polar(wide.copy()))
    out = np.empty((4, 6), np.float32)
    _native.polar(EXACT, torch.from_numpy(row).expand(4, 6), out)
    assert same_bits(out, polar(wide))
    with pytest.raises(ValueError, match=r"^polar: out must not overlap itself, got strides"):
        _native.polar(EXACT, matrix(4, 6), torch.zeros(1, 6).expand(4, 6))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 0, 3), (0, 3, 3)])
def test_empty(shape):
    for make in (np.zeros, torch.zeros):
        assert _native.polar(EXACT, make(shape), make(shape)) is None


def test_in_place_and_zero_copy():
    memory = bytearray(4 * 35)
    out = np.frombuffer(memory, np.float32).reshape(5, 7)
    x = matrix(5, 7)
    _native.polar(EXACT, x, out)
    assert bytes(memory) == polar(x).tobytes()
    tensor = torch.from_numpy(x.copy())
    address = tensor.data_ptr()
    _native.polar(EXACT, tensor, tensor)
    assert tensor.data_ptr() == address
    assert same_bits(tensor, memory)


def test_requires_grad_is_data():
    x = torch.from_numpy(matrix(3, 4)).requires_grad_()
    out = torch.zeros(3, 4)
    _native.polar(EXACT, x, out)
    assert out.grad_fn is None
    assert same_bits(out, polar(matrix(3, 4)))


def test_polynomial():
    x = matrix(6, 9)
    cubic = _native.PolarOptions("polynomial", coefficients=[1.5, -0.5, 0.0] * 40)
    assert np.abs(polar(x, cubic) - polar(x)).max() < 1e-5
    assert not same_bits(polar(x, cubic), polar(x))


def test_frobenius_norm():
    x = matrix(2, 5, 7)
    for source, out in ((x, np.empty(2)), (torch.from_numpy(x), torch.empty(2).double())):
        _native.frobenius_norm(source, out)
        np.testing.assert_allclose(out, np.linalg.norm(x.astype(np.float64), axis=(1, 2)), 1e-14)
    with pytest.raises(TypeError, match=r"^frobenius_norm: x must be an array with __dlpack__"):
        _native.frobenius_norm([[1.0]], np.empty(()))


# ---- Many arrays in one call ---------------------------------------------------------------------


def test_foreach_is_polar_of_each():
    xs = [matrix(4, 9), matrix(9, 4, dtype="float64"), matrix(3, 5, 2), matrix(0, 2)]
    outs = [np.zeros_like(x) for x in xs]
    _native.polar_foreach(EXACT, [xs[0], torch.from_numpy(xs[1]), *xs[2:]], tuple(outs), None)
    for x, out in zip(xs, outs, strict=True):
        assert same_bits(out, polar(x))


def test_foreach_row_blocks():
    conv, heads = matrix(6, 3, 2, 2), matrix(8, 5)
    outs = [np.zeros_like(conv), np.zeros_like(heads)]
    _native.polar_foreach(EXACT, [conv, heads], outs, [1, 2])
    assert same_bits(outs[0], polar(conv.reshape(6, 12)))
    assert same_bits(outs[1], polar(heads.reshape(2, 4, 5)))


@pytest.mark.parametrize(
    ("outs", "row_blocks", "error", "words"),
    [
        (1, None, ValueError, "polar_foreach: out must have length 2 like tensors, got 1"),
        (2, [1], ValueError, "polar_foreach: row_blocks must have length 2 like tensors, got 1"),
        (
            0,
            None,
            TypeError,
            "polar_foreach: out[1] must be an array with __dlpack__, got NoneType",
        ),
    ],
)
def test_foreach_errors(outs, row_blocks, error, words):
    x = [matrix(2, 3), matrix(2, 3)]
    out = [np.zeros((2, 3), np.float32)] * outs if outs else [x[0].copy(), None]
    with pytest.raises(error) as raised:
        _native.polar_foreach(EXACT, x, out, row_blocks)
    assert str(raised.value) == words


def test_foreach_of_one_speaks_of_tensors():
    for row_blocks in (None, [1]):
        with pytest.raises(ValueError, match=r"^polar_foreach: tensors\[0\] must have at least 2"):
            _native.polar_foreach(EXACT, [matrix(3)], [matrix(3)], row_blocks)


# ---- Errors --------------------------------------------------------------------------------------


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def test_read_only_is_read_but_not_written():
    x = read_only(matrix(3, 4))
    assert same_bits(polar(x), polar(x.copy()))
    words = r"^polar: out must be writable, got a read-only array$"
    for out in (read_only(x), Producer(x.copy(), flags=READ_ONLY)):
        with pytest.raises(ValueError, match=words):
            _native.polar(EXACT, matrix(3, 4, seed=1), out)
    lent = with_exchange_api(borrows=False)(x.copy(), flags=READ_ONLY)
    with pytest.raises(ValueError, match=words):
        _native.polar(EXACT, matrix(3, 4, seed=1), lent)


F32 = matrix(2, 3)
NOT_ARRAYS = {"list": [[1.0]], "NoneType": None, "float": 1.0, "str": "x", "type": np.ndarray}


@pytest.mark.parametrize("name", NOT_ARRAYS)
@pytest.mark.parametrize("argument", ["x", "out"])
def test_not_an_array(name, argument):
    arguments = {"x": F32, "out": F32.copy(), argument: NOT_ARRAYS[name]}
    with pytest.raises(TypeError) as raised:
        _native.polar(EXACT, arguments["x"], arguments["out"])
    assert str(raised.value) == f"polar: {argument} must be an array with __dlpack__, got {name}"


@pytest.mark.parametrize("make", [lambda a: a, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("x", "out", "error", "words"),
    [
        *(
            (
                F32.astype(d),
                F32.astype(d),
                TypeError,
                f"x must be float16, bfloat16, float32 or float64, got {d}",
            )
            for d in ("int64", "uint8", "bool", "complex64", "complex128")
        ),
        (F32[0], F32[0], ValueError, "x must have at least 2 dimensions, got shape (3,)"),
        (
            F32[0, 0:1].reshape(()),
            F32,
            ValueError,
            "x must have at least 2 dimensions, got shape ()",
        ),
        (F32, matrix(3, 2), ValueError, "out must have shape (2, 3), got (3, 2)"),
        (F32, F32.astype("f8"), TypeError, "out must be float32 like x, got float64"),
    ],
)
def test_words_of_the_library(make, x, out, error, words):
    with pytest.raises(error) as raised:
        _native.polar(EXACT, make(x), make(out.copy()))
    assert str(raised.value) == f"polar: {words}"


def test_overlap():
    memory = matrix(4, 3)
    with pytest.raises(ValueError, match=r"^polar: out must not overlap x unless it is the same"):
        _native.polar(EXACT, memory[:3], memory[1:])


FOREIGN = F32.astype(">f4")
RECORDS = np.zeros((2, 3), [("a", "f4"), ("b", "i1")])["a"]


@pytest.mark.parametrize("x", [FOREIGN, RECORDS, F32.astype(object)])
def test_numpy_cannot_describe_it(x):
    with pytest.raises(
        TypeError, match=r"^polar: x must be an array that DLPack can describe, got"
    ) as raised:
        _native.polar(EXACT, x, np.zeros((2, 3), np.float32))
    assert isinstance(raised.value.__cause__, BufferError)


def test_ml_dtypes_bfloat16_is_refused_in_words():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = F32.astype(ml_dtypes.bfloat16)
    with pytest.raises(TypeError, match=r"^polar: x must be an array that DLPack can describe"):
        _native.polar(EXACT, x, x.copy())


def fake() -> torch.Tensor:
    with torch._subclasses.FakeTensorMode():
        return torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: torch.zeros(2, 3, device="meta"), RuntimeError, "DLPack can describe, got Tensor"),
        (lambda: torch.zeros(2, 3).to_sparse(), RuntimeError, "DLPack can describe, got Tensor"),
        (fake, ValueError, "must point to its elements, got a null pointer"),
    ],
    ids=["meta", "sparse", "fake"],
)
def test_torch_has_no_memory_to_show(make, error, words):
    with pytest.raises(error, match=words) as raised:
        _native.polar(EXACT, make(), torch.zeros(2, 3))
    assert "\n" not in str(raised.value)


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __dlpack__(self, **keywords: Any) -> Any:
        raise self.error


def test_the_producers_own_errors():
    for error in (ZeroDivisionError("no"), AttributeError("no"), TypeError("no")):
        with pytest.raises(RuntimeError, match=r"got Raising \(no\)$") as raised:
            _native.polar(EXACT, Raising(error), F32.copy())
        assert raised.value.__cause__ is error
    with pytest.raises(KeyboardInterrupt):
        _native.polar(EXACT, Raising(KeyboardInterrupt()), F32.copy())


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"method": "svd"}, "method must be 'exact' or 'polynomial', got 'svd'"),
        ({"rank": "full"}, "rank must be 'truncate' or 'complete', got 'full'"),
        (
            {"precision": "tf32"},
            "precision must be 'float32' or 'float16' or 'bfloat16', got 'tf32'",
        ),
        ({"rtol": -1.0}, "rtol must be >= 0, got -1.0"),
        ({"rtol": float("nan")}, "rtol must be >= 0, got nan"),
        ({"coefficients": [1.0] * 4}, "coefficients must hold 3 numbers per step, got 4"),
    ],
)
def test_options(keywords, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the whole text is compared
        _native.PolarOptions(**{"method": "exact", **keywords})
    assert str(raised.value) == f"polar: {words}"


def test_options_that_the_library_refuses():
    with pytest.raises(ValueError, match=r"^polar: steps must be >= 1, got 0$"):
        polar(F32, _native.PolarOptions("polynomial"))
    with pytest.raises(ValueError, match="must be >= 1"):
        _native.set_num_threads(0)


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
    counted = [*arrays, EXACT, None, np.ndarray, torch.Tensor, list, (1, 0)]

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
    blocks = sys.getallocatedblocks()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    calls(1000)
    gc.collect()
    assert [sys.getrefcount(o) for o in counted] == before
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


# ---- The structs ---------------------------------------------------------------------------------

FIELDS = {
    "Version DLPackVersion": "major minor",
    "Device DLDevice": "type=device_type id=device_id",
    "DataType DLDataType": "code bits lanes",
    "Tensor DLTensor": "data device ndim dtype shape strides byte_offset",
    "ManagedTensor DLManagedTensor": "tensor=dl_tensor context=manager_ctx deleter",
    "ManagedTensorVersioned DLManagedTensorVersioned": (
        "version context=manager_ctx deleter flags tensor=dl_tensor"
    ),
    "ExchangeApiHeader DLPackExchangeAPIHeader": "version older=prev_api",
    "ExchangeApi DLPackExchangeAPI": (
        "header allocate=managed_tensor_allocator "
        "export_managed=managed_tensor_from_py_object_no_sync "
        "import_managed=managed_tensor_to_py_object_no_sync "
        "borrow=dltensor_from_py_object_no_sync current_stream=current_work_stream"
    ),
}


def comparisons() -> dict[str, tuple[str, str]]:
    pairs = {
        "kMajorVersion": ("ours::kMajorVersion", "DLPACK_MAJOR_VERSION"),
        "kReadOnly": ("ours::kReadOnly", "DLPACK_FLAG_BITMASK_READ_ONLY"),
        "kCpu": ("ours::kCpu", "kDLCPU"),
        "kCuda": ("ours::kCuda", "kDLCUDA"),
        "kCudaHost": ("ours::kCudaHost", "kDLCUDAHost"),
        "kCudaManaged": ("ours::kCudaManaged", "kDLCUDAManaged"),
    }
    for structs, fields in FIELDS.items():
        ours, theirs = structs.split()
        pairs[ours] = (f"sizeof(ours::{ours})", f"sizeof({theirs})")
        for field in fields.split():
            our, their = (field.split("=") * 2)[:2]
            pairs[f"{ours}.{our}"] = (
                f"offsetof(ours::{ours}, {our})",
                f"offsetof({theirs}, {their})",
            )
            pairs[f"sizeof {ours}.{our}"] = (
                f"sizeof(ours::{ours}::{our})",
                f"sizeof({theirs}::{their})",
            )
    return pairs


def test_structs_are_laid_out_as_in_torchs_header(tmp_path):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    ours, theirs = (
        ROOT / "csrc/doors/dlpack.h",
        Path(torch.__file__).parent / "include/ATen/dlpack.h",
    )
    if compiler is None:
        pytest.skip("no C++ compiler to read the headers with")
    for header in (ours, theirs):
        if not header.exists():
            pytest.skip(f"no {header.name} at {header.parent}")
    if "DLPackExchangeAPI" not in theirs.read_text():
        pytest.skip("this torch's dlpack.h is from before the exchange API")
    wanted = comparisons()
    lines = "\n".join(
        f'  std::printf("{name}: %zu %zu\\n", size_t({our}), size_t({their}));'
        for name, (our, their) in wanted.items()
    )
    (tmp_path / "layout.cc").write_text(
        f'#include <cstdio>\n#include "{ours}"\n#include "{theirs}"\n'
        f"namespace ours = ortho::dlpack;\nint main() {{\n{lines}\n}}\n"
    )
    program = tmp_path / "layout"
    subprocess.run([compiler, "-std=c++17", "-o", program, tmp_path / "layout.cc"], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    sizes = dict(line.split(": ") for line in printed.splitlines())
    assert sizes.keys() == wanted.keys()
    assert {name for name, pair in sizes.items() if len(set(pair.split())) != 1} == set()
