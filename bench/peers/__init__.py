"""The peers, a file each: ``contenders()`` gives them, or importing it fails with the reason.

A peer runs in its best setting: its own arrays, made before the clock starts, one call for the
whole model where it has one, compiled where it compiles. What it costs to stack matrices of one
shape is its own cost.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from bench.contender import Contender

# File, the package that it needs, and how to get that where an extra does not bring it.
_FILES = {
    "torch_svd": "torch",
    "torch_muon": "torch",
    "scipy_polar": "scipy",
    "jax_polar": "jax",
    "optax_muon": "optax",
    "gram_newton_schulz": "gram-newton-schulz",
}
# Its own dependencies are for cards; without one it needs torch alone.
_HOW = {"gram-newton-schulz": "pip install --no-deps gram-newton-schulz"}


def find() -> tuple[list[Contender], dict[str, str]]:
    """Those that can run here, and for the others the reason."""
    here: list[Contender] = []
    missing: dict[str, str] = {}
    for file, package in _FILES.items():
        try:
            here += import_module(f"bench.peers.{file}").contenders()
        except ImportError as problem:
            missing[package] = _reason(package, problem)
    return here, missing


def versions() -> dict[str, str]:
    """Of every package that takes part."""
    found = {}
    for package in (*dict.fromkeys(_FILES.values()), "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _reason(package: str, problem: ImportError) -> str:
    how = _HOW.get(package, f"pip install {package}")
    try:
        return f"{package} {version(package)} does not fit: {problem}"
    except PackageNotFoundError:
        return f"{package} is not installed: {how}"
