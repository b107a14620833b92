"""The picture: loss against step, final losses whole and by heads, and where the time goes.

Colours are from the Okabe-Ito set, which people with any of the common colour blindnesses can tell
apart; whole matrices are solid lines and full dots, heads dashed lines and hollow dots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from bench.reproduce.methods import HEADS
from demo.figure import INK, STYLE

matplotlib.use("Agg")  # writes files, needs no display

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLOURS = ("#333333", "#999999", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#0072B2")
Record = dict[str, Any]


def draw(found: Record, path: Path) -> None:
    variants = list(dict.fromkeys(one["variant"] for one in found["methods"]))
    colour = dict(zip(variants, COLOURS * len(variants), strict=False))
    with plt.rc_context(STYLE):
        figure, (left, middle, right) = plt.subplots(
            1, 3, figsize=(13, 4.2), width_ratios=(5, 4, 4), layout="constrained"
        )
        _curves(left, found, colour)
        _finals(middle, found, colour)
        _time(right, found, colour)
        settings = found["settings"]
        figure.suptitle(
            "A small GPT on Python's standard library: the same weights, batches and steps, "
            f"{found['seeds']} seeds, {settings['batch'] * settings['length']} characters a step",
            x=0.01,
            ha="left",
            fontsize=12,
        )
        figure.savefig(path, dpi=100)
        plt.close(figure)


def _curves(axes: Axes, found: Record, colour: dict[str, str]) -> None:
    axes.set_title("held-out loss, nats a character")
    for one in found["methods"]:
        curves = np.array(one["curves"], dtype=float)
        steps = found["settings"]["every"] * np.arange(curves.shape[1])
        mean, heads = curves.mean(0), one["grain"] == HEADS
        ink = colour[one["variant"]]
        axes.plot(steps, mean, color=ink, linewidth=1.4, linestyle="--" if heads else "-")
        if len(curves) > 1 and not heads:
            error = curves.std(0, ddof=1) / np.sqrt(len(curves))
            axes.fill_between(steps, mean - error, mean + error, color=ink, alpha=0.2, linewidth=0)
    ends = [loss for one in found["methods"] for loss in one["finals"] if loss is not None]
    starts = [one["curves"][0][0] for one in found["methods"]]
    if ends:
        low, high = min(ends), max(*ends, 0.5 * (min(ends) + max(starts)))
        axes.set_ylim(low - 0.03 * (high - low), high)
    axes.set_xlim(0, found["settings"]["steps"])
    axes.set_xlabel("step")
    place: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 9}
    for row, (variant, ink) in enumerate(colour.items()):
        height = 1.0 - 0.06 * row
        axes.text(0.98, height, variant, color=ink, transform=axes.transAxes, **place)
    note = "solid: whole matrices, with a standard error\ndashed: each head by itself"
    height = 0.98 - 0.06 * len(colour)
    axes.text(0.98, height, note, transform=axes.transAxes, **{**place, "fontsize": 8})


def _finals(axes: Axes, found: Record, colour: dict[str, str]) -> None:
    axes.set_title("final loss, each seed and the mean")
    rows = list(reversed(found["methods"]))
    for row, one in enumerate(rows):
        ink = colour[one["variant"]]
        losses = [loss for loss in one["finals"] if loss is not None]
        axes.plot(losses, [row] * len(losses), "|", color=ink, markersize=8, alpha=0.6)
        if losses:
            mean, error = one["loss"]["mean"], one["loss"]["error"] or 0.0
            axes.errorbar(mean, row, xerr=error, color=ink, linewidth=1.5)
            filled = "white" if one["grain"] == HEADS else ink
            axes.plot(mean, row, "o", color=ink, markerfacecolor=filled, markersize=7)
    axes.set_yticks(range(len(rows)), [one["name"] for one in rows], fontsize=8)
    axes.grid(visible=True, axis="x", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


def _time(axes: Axes, found: Record, colour: dict[str, str]) -> None:
    axes.set_title("one step, ms of processor time")
    rows = list(reversed(found["methods"]))
    # One length for all: what the forward and backward pass takes does not depend on the method.
    shared = float(np.median([one["ms"]["forward_backward"]["median"] for one in rows]))
    for row, one in enumerate(rows):
        base = one["ms"]["base_step"]["median"]
        extra = one["ms"]["orthogonalisation"]["median"] if one["grain"] else 0.0
        axes.barh(row, shared, color="#BBBBBB", height=0.6)
        axes.barh(row, base, left=shared, color=INK, height=0.6)
        axes.barh(row, extra, left=shared + base, color=colour[one["variant"]], height=0.6)
        end = shared + base + extra
        told = f" +{extra:.1f}" if one["grain"] else ""
        axes.text(end, row, told, va="center", fontsize=8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("grey: forward + backward; black: base step;\ncolour: orthogonalisation")
    axes.set_xlim(0, 1.12 * axes.get_xlim()[1])
