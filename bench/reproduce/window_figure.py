"""The picture of bench.reproduce.window: figures 4.12, 4.13, 4.17, 4.18, and two of training.

Every seed is a thin line, the median of the seeds a thick one; colours are of the Okabe-Ito set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from demo.figure import STYLE

matplotlib.use("Agg")  # writes files, needs no display

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from numpy.typing import NDArray

    from bench.reproduce.window import Trace, Training

    Array: TypeAlias = NDArray[Any]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#333333")


def draw(found: dict[str, list[Trace]], trained: dict[str, Training], path: Path) -> None:
    windows = [name for name in found if name.isdigit()]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(2, 3, figsize=(13, 7.2), layout="constrained")
        (known, one, cosines), (ratios, losses, values) = grid
        _bundles(known, {"the matrix itself": found["known"]}, "cosines")
        known.set_title("|cos| with the top vector, iterating on H (4.12)")
        _bundles(one, {"one gradient": found["one"]}, "cosines")
        one.set_title("the same, on one gradient (4.13)")
        rolling = {f"{int(name):,} gradients": found[name] for name in windows}
        _bundles(cosines, rolling, "cosines")
        cosines.set_title("the same, on rolling windows (4.17)")
        _bundles(ratios, rolling, "ratios")
        ratios.set_title("estimate / top eigenvalue, rolling windows (4.18)")
        ratios.axhline(1.0, color="#999999", linewidth=0.8)
        ratios.set_ylim(0.8, 1.5)
        for axes in (known, one, cosines):
            axes.set_ylim(0, 1.02)
        for axes in (known, one):
            axes.set_xlabel("iterate")
        for axes in (cosines, ratios):
            axes.set_xscale("log")
            axes.set_xlabel("gradients seen")
        _losses(losses, trained)
        _values(values, trained)
        figure.savefig(path, dpi=100)
        plt.close(figure)


def _bundles(axes: Axes, bundles: dict[str, list[Trace]], what: str) -> None:
    for (name, traces), ink in zip(bundles.items(), COLOURS, strict=False):
        lines = np.array([getattr(trace, what) for trace in traces])
        steps = np.arange(1, lines.shape[1] + 1)
        if len(bundles) > 1:
            steps, lines = _binned(steps, lines)
        for line in lines:
            axes.plot(steps, line, color=ink, linewidth=0.5, alpha=0.35)
        axes.plot(steps, np.median(lines, axis=0), color=ink, linewidth=1.6, label=name)
    if len(bundles) > 1:
        axes.legend(loc="upper left" if what == "cosines" else "upper right", frameon=False)


def _binned(steps: Array, lines: Array, bins: int = 100) -> tuple[Array, Array]:
    """Means over bins of equal width on a logarithmic axis."""
    starts = np.unique(np.geomspace(1, len(steps) + 1, bins).astype(int))[:-1] - 1
    counts = np.diff([*starts, len(steps)])
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(lines, starts, 1) / counts


def _losses(axes: Axes, trained: dict[str, Training]) -> None:
    for (name, one), ink in zip(trained.items(), COLOURS, strict=False):
        axes.plot(one.losses, color=ink, linewidth=1.2, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_title("loss of BasicCNN on digits, rate min(10, ...)")
    axes.legend(loc="upper right", frameon=False, ncols=2)


def _values(axes: Axes, trained: dict[str, Training]) -> None:
    one = trained["1 / λ"]
    axes.plot(one.eigenvalues, color=COLOURS[0], linewidth=1.4, label="λ, one step per gradient")
    axes.plot(one.second, color=COLOURS[1], linewidth=1.2, label="the window's second, by topk")
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0)
    axes.set_title("eigenvalues of the window while 1 / λ trains")
    axes.legend(loc="upper right", frameon=False)
