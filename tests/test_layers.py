"""The house stands: data, includes and imports flow one way, read off the sources themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "ortho_kernels"
OPTIM = ROOT / "python" / "ortho_optim"
CSRC = ROOT / "csrc"

PYTHON = sorted([*KERNELS.rglob("*.py"), *OPTIM.rglob("*.py")])
SOURCES = sorted(path for end in ("h", "cc", "c", "cu", "cuh") for path in CSRC.rglob(f"*.{end}"))
FRAMEWORKS = re.compile(r"torch|ATen|c10|pybind11|Python\.h|numpy|jax|xla|dlpack|cupy")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions; relative ones made absolute."""
    package = path.relative_to(KERNELS.parent if KERNELS in path.parents else OPTIM.parent)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.with_suffix("").parts[: -node.level]
                base = ".".join([*parts, *([base] if base else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)


def within(modules: set[str], *packages: str) -> set[str]:
    return {m for m in modules if any(m == p or m.startswith(p + ".") for p in packages)}


def files(package: str) -> list[Path]:
    return [path for path in PYTHON if KERNELS / package in (path, *path.parents)]


def test_there_is_something_to_read() -> None:
    assert len(PYTHON) > 20
    assert len(SOURCES) > 10
    assert imports(KERNELS / "ops" / "polar.py") >= {"torch", "ortho_kernels.backends.native"}


# ---- Python --------------------------------------------------------------------------------------


def test_kernels_never_import_the_optimiser_layer() -> None:
    for path in PYTHON:
        if KERNELS in path.parents:
            assert not within(imports(path), "ortho_optim"), path


def test_the_optimiser_layer_uses_public_names_only() -> None:
    allowed = {"ortho_kernels"} | {
        f"ortho_kernels.{name}" for name in (KERNELS / "__init__.py").read_text().split('"')[1::2]
    }
    for path in PYTHON:
        if OPTIM in path.parents:
            assert within(imports(path), "ortho_kernels") <= allowed, path


def test_the_reference_needs_numpy_only() -> None:
    for path in files("reference"):
        assert not within(imports(path), "torch", "jax", "cupy", "scipy"), path
        own = within(imports(path), "ortho_kernels")
        assert not own - within(own, "ortho_kernels.reference"), path


@pytest.mark.parametrize(
    ("package", "never"),
    [
        # Down this list: nothing imports from a room above its own.
        ("backends", ["ops", "threads", "build_info", "interop", "reference"]),
        ("ops", ["threads", "build_info", "interop", "reference"]),
        ("matrices.py", ["ops", "backends", "reference"]),
        ("rank.py", ["ops", "backends", "matrices", "tensors", "options", "reference"]),
        ("tensors.py", ["ops", "backends", "matrices", "reference"]),
        ("options.py", ["ops", "backends", "matrices", "tensors", "reference"]),
        ("coefficients.py", ["ops", "backends", "matrices", "tensors", "options", "checks"]),
        ("checks.py", ["ops", "backends", "matrices", "tensors", "options", "coefficients"]),
        ("polar_express.py", ["ops", "backends", "tensors", "options", "coefficients", "checks"]),
    ],
)
def test_imports_flow_down(package: str, never: list[str]) -> None:
    assert files(package)
    for path in files(package):
        above = within(imports(path), *(f"ortho_kernels.{name}" for name in never))
        assert not above, (path, above)


@pytest.mark.parametrize("name", ["checks.py", "coefficients.py", "options.py", "polar_express.py"])
def test_what_every_door_shares_knows_no_framework(name: str) -> None:
    assert not within(imports(KERNELS / name), "torch", "numpy", "jax", "cupy")


def test_backends_know_nothing_of_each_other() -> None:
    names = [path.name for path in (KERNELS / "backends").iterdir() if path.name[0] != "_"]
    assert set(names) >= {"eager", "native"}
    for path in files("backends"):
        others = [f"ortho_kernels.backends.{name}" for name in names if name not in path.parts]
        assert not within(imports(path), *others), path


def test_only_the_native_backend_touches_the_native_module() -> None:
    for path in PYTHON:
        text = path.read_text()
        if path.parent != KERNELS / "backends" / "native":
            assert "ortho_kernels._native" not in imports(path), path
            assert 'import_module("ortho_kernels._native")' not in text, path


def test_no_import_cycle_in_the_kernel_package() -> None:
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): within(
            imports(path), "ortho_kernels"
        )
        for path in PYTHON
        if KERNELS in path.parents and path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"cycle: {' -> '.join((*trail, module))}"
        if module in graph and module not in done:
            for other in graph[module]:
                if other in graph:
                    visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_every_op_has_its_rooms() -> None:
    """The name is the address: an op's file in ops/ has its twins in the other rooms."""
    for op in (
        "all_finite",
        "frobenius_norm",
        "orthogonal_step_",
        "polar",
        "sketch",
        "window_step_",
    ):
        for room in (KERNELS / "ops", KERNELS / "reference"):
            assert (room / f"{op}.py").is_file()
        assert (ROOT / "tests" / f"test_{op}.py").is_file()
        assert (CSRC / "core" / f"{op}.cc").is_file()
        assert (CSRC / "cpu" / f"{op}.cc").is_file()
    for op in ("all_finite", "polar", "orthogonal_step_", "sketch"):
        assert (ROOT / "docs" / "ops" / f"{op}.md").is_file()


@pytest.mark.parametrize("hidden", [[], ["ortho_kernels._native"], ["ortho_optim"]])
def test_import_needs_torch_and_nothing_else(hidden: list[str]) -> None:
    """Also without the native module, and without what only tests, the demo or the benches need."""
    hidden = [*hidden, "scipy", "hypothesis", "sklearn", "matplotlib", "tqdm", "jax", "cupy"]
    code = f"""
import sys
for name in {hidden!r}:
    sys.modules[name] = None  # importing it now raises ModuleNotFoundError
import ortho_kernels as ok, torch
assert torch.allclose(ok.polar(2 * torch.eye(3)), torch.eye(3))
if "ortho_kernels._native" in {hidden!r}:
    assert ok.build_info()["native"] == "the native module was not built"
    assert ok.build_info()["backends"] == "eager"
loaded = [name for name, module in sys.modules.items() if module is not None]
assert not [name for name in loaded if name.startswith(("torch._inductor", "ortho_optim"))]
"""
    path = f"{ROOT}:{ROOT / 'python'}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


# ---- C++ -----------------------------------------------------------------------------------------


def test_the_abi_needs_two_standard_headers() -> None:
    header = CSRC / "include" / "ortho" / "ortho.h"
    assert set(includes(header)) == {"stddef.h", "stdint.h"}


def test_no_framework_below_the_waist() -> None:
    for path in SOURCES:
        room = path.relative_to(CSRC).parts[0]
        if room in ("include", "core", "cpu", "cuda", "emulation"):
            bad = [name for name in includes(path) if FRAMEWORKS.search(name)]
            assert not bad, (path, bad)


def own_room(name: str) -> str | None:
    """The room of csrc that an include names, if it names one."""
    first = name.split("/")[0]
    return first if (CSRC / first).is_dir() and "/" in name else None


def test_doors_see_the_abi_only() -> None:
    for path in SOURCES:
        if path.relative_to(CSRC).parts[0] == "doors":
            rooms = {own_room(name) for name in includes(path)} - {None}
            assert rooms <= {"doors"} | ({"ortho"} & rooms), (path, rooms)


def test_includes_flow_down() -> None:
    """core may call the kernels it dispatches to; a kernel knows core's views, never its ops."""
    for path in SOURCES:
        room = path.relative_to(CSRC).parts[0]
        rooms = {own_room(name) for name in includes(path)} - {None}
        if room == "cpu":
            assert rooms <= {"cpu", "core"}, (path, rooms)
        if room == "cuda":
            seam = path.name == "launch.h" or path.parent.name == "ptx"  # GPU or emulation
            assert rooms <= {"cuda", "core"} | ({"emulation"} if seam else set()), (path, rooms)
        if room == "emulation":
            assert rooms <= {"emulation"}, (path, rooms)
        if room in ("cpu", "cuda"):
            views = [name for name in includes(path) if name.startswith("core/")]
            ops = {f"core/{op.stem}.h" for op in (KERNELS / "ops").glob("*.py")}
            assert not ops & set(views), (path, views)
        if room in ("core", "cpu", "cuda"):
            assert "doors" not in rooms, path


def test_inline_ptx_lives_in_its_room() -> None:
    for path in SOURCES:
        parts = path.relative_to(CSRC).parts
        if parts[0] in ("cuda", "core", "cpu") and "ptx" not in parts:
            text = re.sub(r"//.*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            assert not re.search(r"\basm\s*(volatile)?\s*\(", text), path


def test_files_stay_small() -> None:
    """About 300 lines: more asks for another file."""
    for path in [*PYTHON, *SOURCES]:
        lines = len(path.read_text().splitlines())
        assert lines <= 320, f"{path} has {lines} lines"
