"""A Markdown table from what bench/polar.py recorded: milliseconds, medians, one line per model.

python -m pytest bench/polar.py --threads 1 --benchmark-json polar.json
python -m bench.table polar.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BASELINE = "torch.linalg.svd"


def table(record: dict[str, Any]) -> str:
    """Every way's median, with how many times faster than the baseline it is."""
    medians: dict[str, dict[str, float]] = {}
    for bench in record["benchmarks"]:
        row = medians.setdefault(bench["group"], {})
        row[bench["params"]["way"]] = 1e3 * bench["stats"]["median"]
    ways = list(dict.fromkeys(way for row in medians.values() for way in row))
    lines = [["", *ways]]
    for group, row in medians.items():
        lines.append([group, *(_cell(row, way) for way in ways)])
    lines.insert(1, ["---", *["---:"] * len(ways)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(row: dict[str, float], way: str) -> str:
    if way not in row:
        return ""
    ratio = f" ({row[BASELINE] / row[way]:.1f}x)" if BASELINE in row and way != BASELINE else ""
    return f"{three_digits(row[way])}{ratio}"


def three_digits(value: float) -> str:
    """Three digits that matter, and never an exponent."""
    return f"{value:.{max(0, 2 - int(f'{value:e}'[-3:]))}f}"


def _conditions(record: dict[str, Any]) -> str:
    told = record["benchmarks"][0]["extra_info"]
    return (
        f"{record['datetime'][:10]}, {record['machine_info']['cpu']['brand_raw']}, "
        f"torch {told['torch']}, native kernels: {told['isa']}; float32, condition "
        f"{told['condition']:g}; milliseconds (times faster than {BASELINE} per matrix)."
    )


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    record = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(f"{table(record)}\n\n{_conditions(record)}")


if __name__ == "__main__":
    main()
