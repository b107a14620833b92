"""Hands the build to CMake. Reads ORTHO_* variables and decides nothing else; CMakeLists.txt does.

ORTHO_NO_NATIVE=1     a pure Python install, no compiler needed
ORTHO_CUDA            auto (default: build CUDA kernels if nvcc is found) | 1 | 0
ORTHO_CUDA_ARCHS      "80;90a", "8.0;9.0a+PTX" or "all"; TORCH_CUDA_ARCH_LIST serves if it is unset
ORTHO_BUILD_TYPE      Release (default) | Debug | RelWithDebInfo
ORTHO_WERROR          1: compiler warnings are errors
MAX_JOBS              parallel compilations, default: the processors this process may use
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def version() -> str:
    header = (ROOT / "csrc/include/ortho/ortho.h").read_text()
    parts = re.findall(r"^#define ORTHO_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", header, re.MULTILINE)
    return ".".join(parts)


def tool(name: str) -> str:
    """Path of cmake or ninja: the pip package's own program, else the one on PATH."""
    try:
        package = __import__(name)
    except ImportError:
        directory = None
    else:
        directory = getattr(package, "CMAKE_BIN_DIR", None) or getattr(package, "BIN_DIR", None)
    found = shutil.which(name, path=directory) or shutil.which(name)
    if found is None:
        sys.exit(f"ortho-kernels: the build needs {name}: pip install {name}, or ORTHO_NO_NATIVE=1")
    return found


class CMakeBuild(build_ext):
    def run(self) -> None:
        if getattr(self, "editable_mode", False):
            self.inplace = True
        package = Path(self.get_ext_fullpath("ortho_kernels._native")).parent
        # Stable across runs, so that a second build compiles only what changed.
        build = ROOT / "build" / f"python-{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
        jobs = os.environ.get("MAX_JOBS") or str(len(os.sched_getaffinity(0)))
        cmake = tool("cmake")
        for command in (
            [cmake, "-S", str(ROOT), "-B", str(build), "-G", "Ninja", *self.definitions()],
            [cmake, "--build", str(build), "--parallel", jobs],
            [cmake, "--install", str(build), "--component", "python", "--prefix", str(package)],
        ):
            if subprocess.run(command).returncode != 0:
                sys.exit(f"ortho-kernels: failed: {' '.join(command)}")

    def definitions(self) -> list[str]:
        import pybind11

        env = os.environ.get
        values = {
            "CMAKE_BUILD_TYPE": env("ORTHO_BUILD_TYPE", "Release"),
            "CMAKE_MAKE_PROGRAM": tool("ninja"),
            "ORTHO_CUDA": env("ORTHO_CUDA", "auto"),
            "ORTHO_CUDA_ARCHS": env("ORTHO_CUDA_ARCHS") or env("TORCH_CUDA_ARCH_LIST", ""),
            "ORTHO_WERROR": env("ORTHO_WERROR", "0"),
            "ORTHO_PYTHON": "ON",
            "ORTHO_SHARED": "OFF",
            "ORTHO_TESTS": "OFF",
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11.get_cmake_dir(),
        }
        return [f"-D{name}={value}" for name, value in values.items()]


native = os.environ.get("ORTHO_NO_NATIVE", "0") in ("", "0")
setup(
    version=version(),
    ext_modules=[Extension("ortho_kernels._native", sources=[])] if native else [],
    cmdclass={"build_ext": CMakeBuild},
)
