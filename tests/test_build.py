"""What the build put into the package: one version, one entry point, no need of a driver."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from dlpack_producers import CUDA, Producer

import ortho_kernels as ok
from ortho_kernels.backends import native

ROOT = Path(__file__).parents[1]
HEADER = (ROOT / "csrc/include/ortho/ortho.h").read_text()
module = native.module
needs_native = pytest.mark.skipif(module is None, reason=native.reason or "present")


def test_one_version() -> None:
    parts = re.findall(r"#define ORTHO_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", HEADER)
    assert metadata.version("ortho-kernels") == ok.build_info()["version"] == ".".join(parts)
    if module is not None:
        assert module.version() == ".".join(parts)


@needs_native
def test_the_header_is_shipped() -> None:
    assert module is not None
    package = Path(str(module.__file__)).parent
    assert (package / "include/ortho/ortho.h").read_text() == HEADER


@needs_native
def test_the_module_shows_its_entry_point_only() -> None:
    assert module is not None
    library = ctypes.CDLL(str(module.__file__))
    assert library.PyInit__native
    for name in ("ortho_polar", "ortho_last_error", "cudaLaunchKernel"):
        with pytest.raises(AttributeError):
            getattr(library, name)


@needs_native
@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
def test_the_module_needs_no_cuda_library() -> None:
    assert module is not None
    dynamic = subprocess.run(
        ["readelf", "--dynamic", str(module.__file__)], capture_output=True, text=True, check=True
    ).stdout
    needed = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
    assert any(name.startswith("libc.so") for name in needed)
    assert not [name for name in needed if "cuda" in name or "torch" in name]


@needs_native
@pytest.mark.skipif(torch.cuda.is_available(), reason="the pointers of this test are not a GPU's")
def test_a_cuda_tensor_without_a_gpu_is_an_error_in_words() -> None:
    assert module is not None
    x = Producer(np.ones((2, 3, 4), np.float32), device=CUDA)
    out = Producer(np.zeros(2), device=CUDA)
    words = "CUDA failed" if module.cuda_archs() else "this build has no CUDA kernels"
    with pytest.raises(RuntimeError, match=f"^frobenius_norm: .*{words}"):
        module.frobenius_norm(x, out)  # type: ignore[arg-type]
    assert not out.array.any()
