"""Takes out of the CUDA kernels, one at a time, what keeps them right, and sees which test fails.

python csrc/tests/mutate.py docs/mutants.md       (make mutate-cuda)

Every barrier and wait in csrc/cuda is found by itself; conditions at the edges of a matrix are
listed here. It works on a copy of the sources in build/mutate and writes a table of what caught
each.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutate"
TESTS = ("test_frobenius_norm_cuda", "test_polar_polynomial_cuda")
WAITS = re.compile(r"__syncthreads\(\);|__syncwarp\(\);|AwaitCopies<\w+>\(\);")
EDGES = (  # file, what it says, what it is made to say
    ("block.h", "has_row[r] = i < x.m", "has_row[r] = true"),
    ("block.h", "has_column[c] = j < x.n", "has_column[c] = true"),
    ("block.h", "min(i, x.m - 1)", "i"),
    ("block.h", "min(j, x.n - 1)", "j"),
    ("block.h", "if (offsets.Has(e)) Store", "Store"),
    ("scalars.h", "if (inner >= axis.inner_size)", "if (false)"),
    ("symmetric.h", "row < kSide / 2", "true"),
    ("symmetric.h", "row < kSide / 2", "false"),
    ("polar_polynomial.cu", "panel % 2 * S::kPanelTiles", "0 * S::kPanelTiles"),
    ("polar_polynomial.cu", "constexpr int kFold = 16;", "constexpr int kFold = 1 << 20;"),
)

EQUIVALENT = {  # the comment beside a wait: why no test can miss it
    "the previous result has been read by everyone": "nothing can: each use in the kernel has an "
    "array of its own, and a block meets a second matrix only in a batch of 2^31",
}


class Mutant(NamedTuple):
    file: str
    line: int
    change: str
    text: str  # of the whole file
    equivalent: str = ""  # why nothing can notice


def mutants() -> Iterator[Mutant]:
    for path in sorted((ROOT / "csrc" / "cuda").glob("*.*")):
        text = path.read_text()
        code = re.sub(r"//.*", lambda comment: " " * len(comment[0]), text)

        def mutant(start: int, old: str, new: str, change: str) -> Mutant:
            line = text.count("\n", 0, start) + 1  # noqa: B023 (called at once)
            changed = text[:start] + new + text[start + len(old) :]  # noqa: B023
            return Mutant(path.name, line, change, changed)  # noqa: B023

        for wait in WAITS.finditer(code):
            comment = text[wait.end() : text.index("\n", wait.end())].lstrip(" /")
            found = mutant(wait.start(), wait[0], "", f"without `{wait[0][:-1]}`")
            yield found._replace(equivalent=EQUIVALENT.get(comment, ""))
        for name, old, new in EDGES:
            if name == path.name:
                yield mutant(text.index(old), old, new, f"`{old}` -> `{new}`")


def build() -> None:
    command = ["cmake", "--build", str(WORK / "build"), "--target", *TESTS]
    subprocess.run(command, check=True, capture_output=True)


def first_complaint() -> str:
    """The first line of the first test that says anything; nothing more is run then."""
    for test in TESTS:
        program = WORK / "build" / "csrc" / "tests" / test
        with subprocess.Popen([program], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            line = process.stderr.readline().strip()
            process.kill()
        if line:
            return f"{test}: " + re.sub(r"^\S+ \[\w+\] .*?: (?=\D)", "", line)
    return ""


def main(table: Path) -> int:
    shutil.rmtree(WORK, ignore_errors=True)  # its objects may be a mutant's
    source = WORK / "source"
    source.mkdir(parents=True)
    for name in ("csrc", "cmake"):
        shutil.copytree(ROOT / name, source / name)
    shutil.copy(ROOT / "CMakeLists.txt", source)
    options = ["-D", "ORTHO_CUDA=0", "-D", "ORTHO_TESTS=ON", "-D", "ORTHO_SHARED=OFF"]
    subprocess.run(
        ["cmake", "-G", "Ninja", "-S", source, "-B", WORK / "build", *options], check=True
    )
    build()
    assert not first_complaint(), "the kernels as they are must pass"

    rows = ["| where | what was changed | what caught it |", "|---|---|---|"]
    survivors = 0
    for mutant in mutants():
        path = source / "csrc" / "cuda" / mutant.file
        original = path.read_text()
        path.write_text(mutant.text)
        build()
        complaint = first_complaint()
        path.write_text(original)
        survivors += not complaint and not mutant.equivalent
        complaint = complaint or mutant.equivalent or "**nothing**"
        change = mutant.change.replace("|", "\\|")
        rows.append(f"| {mutant.file}:{mutant.line} | {change} | {complaint} |")
        print(rows[-1], flush=True)
    table.write_text(
        "# What the tests of the CUDA kernels would miss\n\n"
        "`make mutate-cuda` takes out of the kernels, one at a time, what keeps them right, and\n"
        "writes here which complaint of the emulated tests came first.\n\n" + "\n".join(rows) + "\n"
    )
    return survivors


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
