"""Error against time, a panel for each case: down and to the left is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OURS, PEERS = "#b3261e", "#44546a"
LEAST_ERROR = 1e-8  # what is smaller is drawn here

Point = tuple[float, float, dict[str, Any]]  # time, error, result
Box = tuple[float, float, float, float]  # left, right, bottom, top, in pixels


def save(found: dict[str, Any], path: Path) -> None:
    cases = found["cases"]
    columns = min(2, len(cases))
    rows = -(-len(cases) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(1.5 + 5.6 * columns, 0.4 + 4.6 * rows),
        dpi=130,
        squeeze=False,
        layout="constrained",
    )
    panels = grid.flatten()
    for spare in panels[len(cases) :]:
        spare.set_axis_off()
    points = [_panel(axes, case, found["clock"]) for axes, case in zip(panels, cases, strict=False)]
    for axes in grid[:, 0]:
        axes.set_ylabel("relative error on the kept range")
    machine = found["machine"]
    figure.suptitle(
        f"Orthogonalising every gradient once: {found['threads']} thread(s), "
        f"{machine['processor']}, {machine['date']}",
        fontsize=11,
    )
    figure.canvas.draw()  # now it is known where everything lies
    figure.set_layout_engine("none")
    for axes, there in zip(panels, points, strict=False):
        _labels(axes, there)
    figure.savefig(path, dpi=figure.dpi)
    plt.close(figure)


def _panel(axes: Axes, case: dict[str, Any], clock: str) -> list[Point]:
    results = [r for r in case["results"] if r["status"] in ("timed", "once") and r["error"]]
    axes.set_title(f"{case['model']}, {case['input']}", fontsize=10)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("milliseconds" + (" of processor time" if clock == "cpu" else ""))
    axes.grid(visible=True, which="major", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    points = [(r[f"{clock}_ms"]["median"], max(r["error"], LEAST_ERROR), r) for r in results]
    for time, error, result in points:
        _dot(axes, time, error, result, clock)
    axes.axvline(case["least_ms"], color="#999999", linewidth=1, linestyle=":")
    axes.annotate(
        "X Xᵀ and one product at peak",
        (case["least_ms"], 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 0),
        textcoords="offset points",
        rotation=90,
        fontsize=7,
        color="#777777",
        ha="right",
        va="bottom",
    )
    axes.set_xlim(0.6 * case["least_ms"], 12 * max(time for time, _, _ in points))
    axes.set_ylim(min(error for _, error, _ in points) / 5, 20)
    return points


def _dot(axes: Axes, time: float, error: float, result: dict[str, Any], clock: str) -> None:
    color = OURS if result["ours"] else PEERS
    span = result[f"{clock}_ms"]
    axes.plot([span["q1"], span["q3"]], [error, error], color=color, linewidth=1.2)
    filled = color if result["status"] == "timed" else "white"  # hollow: this time was taken once
    axes.plot(time, error, "o", color=color, markerfacecolor=filled, markersize=6)


def _labels(axes: Axes, points: list[Point]) -> None:
    """Beside each dot, or as near above or below as there is room, with a line to its dot."""
    scale = axes.figure.dpi / 72
    dots = [tuple(axes.transData.transform((time, error))) for time, error, _ in points]
    taken = [(x - 4 * scale, x + 4 * scale, y - 4 * scale, y + 4 * scale) for x, y in dots]
    order = sorted(range(len(points)), key=lambda i: (-dots[i][0], dots[i][1]))
    for i in order:
        (time, error, result), (x, y) = points[i], dots[i]
        width, height = 4.3 * scale * len(result["name"]), 9 * scale
        left = x + 8 * scale
        for shift in _nearest_first(scale):
            box = (left, left + width, y + shift - height / 2, y + shift + height / 2)
            if not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        color = OURS if result["ours"] else PEERS
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6}
        axes.annotate(
            result["name"],
            (time, error),
            xytext=(8, shift / scale),
            textcoords="offset points",
            fontsize=7.5,
            color=color,
            va="center",
            arrowprops=line | {"shrinkA": 0, "shrinkB": 3, "relpos": (0, 0.5)} if shift else None,
        )


def _nearest_first(scale: float) -> list[float]:
    return [0.0] + [sign * step * scale for step in range(3, 120, 3) for sign in (-1, 1)]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
