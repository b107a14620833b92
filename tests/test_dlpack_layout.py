"""csrc/doors/dlpack.h against the DLPack header that an installed torch carries."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

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
