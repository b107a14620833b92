"""The tables of `python -m bench compare`, in Markdown, so that what is shown can be published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.table import three_digits

BASELINE = "torch.linalg.svd"
COLUMNS = (
    "method",
    "ms (quartiles)",
    f"times faster than {BASELINE}",
    "error",
    "leak",
    "of peak",
)
# What is worth a ratio: one of ours, and whom it is meant to beat.
PAIRS = (
    ("ok exact", BASELINE),
    ("ok newton", "torch.optim.Muon's, bf16"),
    ("ok polar_express 5", "torch.optim.Muon's, bf16"),
    ("ok polar_express 5", "Muon's polynomial, f32, by shape"),
    ("ok polar_express 5", "optax muon, float32, jit"),
)


def text(found: dict[str, Any]) -> str:
    """All cases, what was missing, and on what it was run."""
    clock = found["clock"]
    parts = ["\n".join(_case(case, clock)) for case in found["cases"]]
    parts.append(pairs(found))
    if found["missing"]:
        parts.append("\n".join(f"not there: {why}" for why in found["missing"].values()))
    parts.append(_machine(found))
    return "\n\n".join(part for part in parts if part)


def pairs(found: dict[str, Any]) -> str:
    """How many times faster ours are, a row for each pair and a column for each case."""
    cases = found["cases"]
    rows = []
    for ours, theirs in PAIRS:
        cells = [_ratio(case, ours, theirs, found["clock"]) for case in cases]
        if any(cells):
            rows.append([f"`{ours}` over {theirs}", *cells])
    titles = [f"{case['model']}, {case['input']}" for case in cases]
    return "\n".join(markdown(["times faster", *titles], rows)) if rows else ""


def ours_wrong(found: dict[str, Any]) -> bool:
    """Whether a method of this package broke its promise."""
    results = (result for case in found["cases"] for result in case["results"])
    return any(result["ours"] and result["status"] == "wrong" for result in results)


def _case(case: dict[str, Any], clock: str) -> list[str]:
    condition = case["condition"]
    head = (
        f"**{case['model']}, {case['input']}**: {case['matrices']} matrices, "
        f"{case['parameters']:,} numbers, condition {condition['least']:.0e} to "
        f"{condition['most']:.0e} on the kept range, {case['deficient']} deficient. "
        f"X Xᵀ and one product with X take {three_digits(case['least_ms'])} ms at the peak."
    )
    base = _median(case, BASELINE, clock)
    results = sorted(case["results"], key=lambda result: _order(result, clock))
    return [head, "", *markdown(COLUMNS, [_row(result, base, clock) for result in results])]


def _order(result: dict[str, Any], clock: str) -> tuple[int, float]:
    rank = ("timed", "once", "stopped", "wrong").index(result["status"])
    return max(0, rank - 1), result[f"{clock}_ms"]["median"]


def _row(result: dict[str, Any], base: float | None, clock: str) -> list[str]:
    name = f"`{result['name']}`" if result["ours"] else result["name"]
    span = result[f"{clock}_ms"]
    median = three_digits(span["median"])
    if result["status"] == "wrong":
        return [name, f"wrong: {result['why']}", "", _error(result, "error"), "", ""]
    if result["status"] == "stopped":
        return [name, f"> {median}, stopped after {result['answered']} matrices", "", "", "", ""]
    spread = f" ({three_digits(span['q1'])} to {three_digits(span['q3'])})"
    once = result["status"] == "once"
    faster = f"{base / span['median']:.2g}" if base else ""
    share = f"{100 * result['of_peak']:.0f} %" if "of_peak" in result else ""
    errors = [_error(result, "error"), _error(result, "leak")]
    return [name, f"~ {median}" if once else f"{median}{spread}", faster, *errors, share]


def _error(result: dict[str, Any], kind: str) -> str:
    value = result[kind]
    return "NaN" if value is None else "0" if value == 0 else f"{value:.0e}"


def _ratio(case: dict[str, Any], ours: str, theirs: str, clock: str) -> str:
    fast, slow = _median(case, ours, clock), _median(case, theirs, clock)
    if fast is None or slow is None:
        return ""
    status = {result["name"]: result["status"] for result in case["results"]}[theirs]
    return {"timed": "", "once": "~ ", "stopped": "> "}[status] + f"{slow / fast:.3g}"


def _median(case: dict[str, Any], name: str, clock: str) -> float | None:
    for result in case["results"]:
        if result["name"] == name and result["status"] != "wrong":
            return float(result[f"{clock}_ms"]["median"])
    return None


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of one width, so that a terminal shows a table, too."""
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    return [line(titles), line(rule), *(line(row) for row in rows)]


def _machine(found: dict[str, Any]) -> str:
    machine, peak = found["machine"], found["peak_gflops"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    time = "processor time" if found["clock"] == "cpu" else "time on the clock"
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"native kernels: {machine['ortho_kernels']['isa']}; {versions}.\n"
        f"{found['threads']} thread(s), {time}, medians of {found['rounds']} rounds in turns; "
        f"peak {peak['float32']:.0f} GFLOP/s in float32, {peak['float64']:.0f} in float64 "
        f"({peak['how']})."
    )
