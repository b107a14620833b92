"""polar on the plain kernels, which multiply bfloat16 as the AVX512-BF16 instructions do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ortho_kernels.backends import native

HERE = Path(__file__).parent


@pytest.mark.skipif(native.module is None, reason=f"no native module: {native.reason}")
def test_half_precision_on_the_reference_kernels() -> None:
    """The row is chosen once a process: the tests of half precision, again, in one of their own."""
    files = ("test_polar.py", "test_polar_express_use.py")
    command = [sys.executable, "-m", "pytest", "-q", "-k", "half_precision or near_rank_one"]
    done = subprocess.run(
        [*command, *(str(HERE / name) for name in files)],
        env={**os.environ, "ORTHO_ISA": "reference"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    isa = subprocess.run(
        [sys.executable, "-m", "ortho_kernels"],
        env={**os.environ, "ORTHO_ISA": "reference"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "reference" in isa.stdout
