"""The table of `python -m bench muon`, in Markdown, so that what is shown can be published."""

from __future__ import annotations

from typing import Any

from bench.report import markdown
from bench.table import three_digits

COLUMNS = ("model", "step of", "ms (quartiles)", "times faster")


def text(found: dict[str, Any]) -> str:
    rows = []
    for model in found["models"]:
        first, *rest = model["results"]
        name = f"{model['model']}, {model['weights']} weights"
        rows.append([name, f"`{first['name']}`", _time(first), ""])
        for result in rest:
            rows.append(["", f"`{result['name']}`", _time(result), _ratio(first, result)])
    return "\n".join([*markdown(COLUMNS, rows), "", *_notes(found)])


def any_wrong(found: dict[str, Any]) -> bool:
    return any(one["status"] == "wrong" for model in found["models"] for one in model["results"])


def _time(result: dict[str, Any]) -> str:
    ms = result["ms"]
    if result["status"] == "wrong":
        return f"wrong: {result['why']}"
    if result["status"] == "timed":
        lower, median, upper = (three_digits(ms[key]) for key in ("q1", "median", "q3"))
        return f"{median} ({lower} to {upper})"
    return ("~ " if result["status"] == "once" else "est. ") + f"{ms['median']:.0f}"


def _ratio(first: dict[str, Any], result: dict[str, Any]) -> str:
    if "wrong" in (first["status"], result["status"]):
        return ""
    ratio = result["ms"]["median"] / first["ms"]["median"]
    mark = {"timed": "", "once": "~ ", "left out": "est. "}[result["status"]]
    return f"{mark}{ratio:.3g}"


def _notes(found: dict[str, Any]) -> list[str]:
    machine = found["machine"]
    time = "processor time" if found["clock"] == "cpu" else "time on the clock"
    return [
        f"{machine['date']}, {machine['processor']}, torch {machine['torch']}, native kernels: "
        f"{machine['ortho_kernels']['isa']}; {found['threads']} thread(s), {time}, medians of "
        f"{found['rounds']} rounds in turns."
    ]
