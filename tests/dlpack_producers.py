"""Arrays that are nothing but DLPack, made by hand, so that a test sees how the door reads them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

CPU, CUDA, CUDA_HOST = 1, 2, 3
READ_ONLY = 1
CODES = {"f": 2, "i": 0, "u": 1, "c": 5, "b": 6}


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("version", Version),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


class ExchangeApi(ctypes.Structure):
    _fields_ = [
        ("version", Version),
        ("older", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("export_managed", ctypes.c_void_p),
        ("import_managed", ctypes.c_void_p),
        ("borrow", ctypes.c_void_p),
        ("current_stream", ctypes.c_void_p),
    ]


new_capsule: Callable[..., Any] = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))
DELETER = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
BORROW = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(Tensor))
EXPORT = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(ctypes.c_void_p))
STREAM = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)
)


class Producer:
    """`array` under DLPack, in the dialect that the keywords say."""

    def __init__(
        self,
        array: np.ndarray,
        *,
        versioned: bool = True,
        major: int = 1,
        flags: int = 0,
        byte_offset: int = 0,
        strides: bool = True,
        device: int = CPU,
    ) -> None:
        self.array = array
        self.versioned = versioned
        self.device = device
        self.deleted = 0
        self.asked: list[dict[str, Any]] = []
        self.capsule: Any = None
        self._shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self._strides = (ctypes.c_int64 * array.ndim)(*(s // array.itemsize for s in array.strides))
        self.tensor = Tensor(
            array.ctypes.data - byte_offset,
            device,
            0,
            array.ndim,
            CODES[array.dtype.kind],
            8 * array.itemsize,
            1,
            self._shape,
            self._strides if strides else None,
            byte_offset,
        )
        self._deleter = DELETER(self._delete)
        deleter = ctypes.cast(self._deleter, ctypes.c_void_p)
        self.managed = (
            ManagedVersioned(Version(major, 0), None, deleter, flags, self.tensor)
            if versioned
            else Managed(self.tensor, None, deleter)
        )

    def _delete(self, _: int) -> None:
        self.deleted += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, **keywords: Any) -> Any:
        self.asked.append(keywords)
        if not self.versioned and "max_version" in keywords:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        self.capsule = new_capsule(ctypes.addressof(self.managed), name, None)
        return self.capsule


def with_exchange_api(
    *, major: int = 1, older: bool = False, borrows: bool = True, stream: int = 0
) -> type[Producer]:
    """A type of producer that offers the C exchange API; `exchanged` counts its use."""

    class Exchanging(Producer):
        exchanged = 0
        __dlpack_c_exchange_api__: Any

    def borrow(array: Exchanging, out: Any) -> int:
        Exchanging.exchanged += 1
        out[0] = array.tensor
        return 0

    def export(array: Exchanging, out: Any) -> int:
        Exchanging.exchanged += 1
        out[0] = ctypes.addressof(array.managed)
        return 0

    def current_stream(_type: int, _id: int, out: Any) -> int:
        out[0] = stream
        return 0

    callbacks = (EXPORT(export), BORROW(borrow), STREAM(current_stream))
    export_at, borrow_at, stream_at = (ctypes.cast(f, ctypes.c_void_p) for f in callbacks)
    table = ExchangeApi(
        Version(1 if older else major, 0), None, None, export_at, None, borrow_at, stream_at
    )
    if not borrows:
        table.borrow = None
    newest = table
    if older:
        newest = ExchangeApi(Version(major, 0), ctypes.addressof(table))
    capsule = new_capsule(ctypes.addressof(newest), b"dlpack_exchange_api", None)
    Exchanging.__dlpack_c_exchange_api__ = capsule
    Exchanging.kept = (callbacks, table, newest)  # type: ignore[attr-defined]
    return Exchanging


class CapsulesOnly:
    """Whatever it wraps, without the C exchange API."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)
