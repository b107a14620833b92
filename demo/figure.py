"""The picture: accuracy and loss against step with standard-error bands, and where the time goes.

Colours are from the Okabe-Ito set, which people with any of the common colour blindnesses can tell
apart; lines are named where they run, so that no legend has to be decoded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from demo.report import TARGETS, Cost, Runs, cost, speed
from demo.train import OPTIMIZERS, ORTHOGONAL, SGDM, Settings

matplotlib.use("Agg")  # writes files, needs no display

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLOUR = {SGDM: "#0072B2", ORTHOGONAL: "#D55E00"}
INK, FAINT = "#333333", "#DDDDDD"
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(runs: Runs, settings: Settings, path: Path) -> None:
    with plt.rc_context(STYLE):
        figure, (left, middle, right) = plt.subplots(
            1, 3, figsize=(12, 4), width_ratios=(5, 4, 4), layout="constrained"
        )
        _accuracy(left, runs)
        _loss(middle, runs)
        _time(right, cost(runs))
        figure.suptitle(
            "BasicCNN on handwritten digits: the same weights, batches and settings, "
            f"{len(runs)} seed{'s' if len(runs) > 1 else ''} "
            f"(batch {settings.batch}, lr {settings.lr:g}, momentum {settings.momentum:g})",
            x=0.01,
            ha="left",
            fontsize=12,
        )
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _band(axes: Axes, curves: np.ndarray, name: str) -> np.ndarray:
    """The mean over seeds as a line, one standard error each way as a band."""
    mean, steps = curves.mean(0), np.arange(curves.shape[1])
    axes.plot(steps, mean, color=COLOUR[name], linewidth=1.8)
    if len(curves) > 1:
        error = curves.std(0, ddof=1) / np.sqrt(len(curves))
        axes.fill_between(
            steps, mean - error, mean + error, color=COLOUR[name], alpha=0.22, linewidth=0
        )
    axes.set_xlim(0, steps[-1])
    axes.set_xlabel("step")
    return mean


def _accuracy(axes: Axes, runs: Runs) -> None:
    axes.set_title("held-out accuracy, %")
    ends = [
        _band(axes, np.array([seed[name].accuracy for seed in runs]), name)[-1]
        for name in OPTIMIZERS
    ]
    # Both start at chance; where they end high, the interesting part is the upper one.
    floor = 60 if min(ends) > 80 else 0
    axes.set_ylim(floor, 100)
    axes.set_yticks([60, 70, 80, *TARGETS, 100] if floor else [0, 30, 60, 90, 100])
    dots = 0
    for target in TARGETS:
        axes.axhline(target, color=FAINT, linewidth=0.8, zorder=0)
        for name in OPTIMIZERS:
            reached = speed(runs, name, target)
            if reached.count == len(runs):
                dots += 1
                axes.plot(reached.mean, target, "o", color=COLOUR[name], markersize=5)
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right"}
    for row, name in enumerate(reversed(OPTIMIZERS)):
        axes.text(
            0.97,
            (0.36 if dots else 0.14) - 0.09 * row,
            name,
            color=COLOUR[name],
            weight="bold",
            **place,
        )
    if dots:
        note = "dots: the mean step at which the seeds\nfirst reach 90, 95 and 97 %"
        axes.text(0.97, 0.16, note, va="center", fontsize=9, **place)


def _loss(axes: Axes, runs: Runs) -> None:
    axes.set_title("held-out loss (log scale)")
    for name in OPTIMIZERS:
        mean = _band(axes, np.array([seed[name].loss for seed in runs]), name)
        axes.annotate(
            f"{mean[-1]:.3f}",
            (len(mean) - 1, mean[-1]),
            xytext=(4, 0),
            textcoords="offset points",
            color=COLOUR[name],
            va="center",
            annotation_clip=False,
        )
    axes.set_yscale("log")


def _time(axes: Axes, spent: Cost) -> None:
    axes.set_title("one training step, ms")
    extra = spent.orthogonalisation.median
    ratio = f" (+{spent.overhead_percent:.1f} %)" if spent.resolved else " (lost in the noise)"
    parts = (
        ("forward + backward", spent.forward_backward.median, "#BBBBBB", ""),
        ("base step", spent.base_step.median, INK, ""),
        ("orthogonalisation", max(extra, 0.0), COLOUR[ORTHOGONAL], ratio),
    )
    heights = {SGDM: 1, ORTHOGONAL: 0}
    total = sum(width for _, width, _, _ in parts)
    for name, end in ((SGDM, total - parts[-1][1]), (ORTHOGONAL, total)):
        axes.text(0.02 * total, heights[name], f"{name}  {end:.1f}", va="center", weight="bold")
    start = 0.0
    for row, (label, width, colour, note) in enumerate(parts):
        names = (ORTHOGONAL,) if label == "orthogonalisation" else OPTIMIZERS
        axes.barh([heights[name] for name in names], width, left=start, color=colour, height=0.6)
        start += width
        # The key doubles as the list of values: thin slices could not carry their own labels.
        height = -1.2 - 0.45 * row
        axes.plot(0.02, height, "s", color=colour, transform=axes.get_yaxis_transform())
        text = f"{label}  {width:.2f}{note}"
        axes.text(0.07, height, text, transform=axes.get_yaxis_transform(), va="center")
    axes.set_ylim(-2.5, 1.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1.02 * total)
