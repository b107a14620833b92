"""The demo: a tiny run from end to end, its arithmetic on made-up runs, and its own gradients."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
pytest.importorskip("tqdm")

import matplotlib.colors
import matplotlib.image
from conftest import exact_bound

import ortho_optim
from demo import __main__, data, figure, report
from demo.data import Digits
from demo.model import PARAMETERS, BasicCNN
from demo.train import OPTIMIZERS, ORTHOGONAL, SGDM, Run
from ortho_kernels.reference.polar import rank

EPOCHS = 2
STEPS = EPOCHS * data.TRAIN_SIZE // 256


@dataclass(frozen=True)
class Outcome:
    printed: str
    folder: Path
    numbers: dict[str, Any]


@pytest.fixture(scope="module")
def digits() -> Digits:
    return data.load()


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("demo") / "made" / "by the demo"
    words = ["--seeds", "1", "--epochs", str(EPOCHS), "--threads", "1", "--out", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words: lines.append(" ".join(map(str, words))))
        __main__.main(words)
    numbers = json.loads((folder / "results.json").read_text(), parse_constant=_no_constant)
    return Outcome("\n".join(lines), folder, numbers)


def _no_constant(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


# ---- The run -------------------------------------------------------------------------------------


def test_table_has_a_column_per_optimiser_and_a_row_per_question(outcome: Outcome) -> None:
    text = (outcome.folder / "table.md").read_text()
    assert text in outcome.printed
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "SGDM", "Orthogonal-SGDM"]
    assert {len(row) for row in cells} == {3}
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    assert [row[0] for row in cells[2:]] == [
        "held-out loss",
        "held-out accuracy, %",
        "steps (epochs) to 90 %",
        "steps (epochs) to 95 %",
        "steps (epochs) to 97 %",
        "forward + backward, ms",
        "base optimiser step, ms",
        "orthogonalisation, ms",
        "overhead, % of a plain step",
    ]


def test_numbers_agree_with_the_curves_that_they_come_from(outcome: Outcome) -> None:
    numbers = outcome.numbers
    assert numbers["settings"] == {
        "seeds": 1,
        "epochs": EPOCHS,
        "batch": 256,
        "lr": 1e-2,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "method": "exact",
        "steps_per_epoch": STEPS // EPOCHS,
    }
    assert numbers["machine"]["torch"] == torch.__version__
    (seed,) = numbers["runs"]
    for name in OPTIMIZERS:
        run, summary = seed[name], numbers["summary"][name]
        assert len(run["loss"]) == len(run["accuracy"]) == STEPS + 1
        assert len(run["forward_backward_ms"]) == len(run["step_ms"]) == STEPS
        assert summary["accuracy_percent"] == {
            "mean": run["accuracy"][-1],
            "error": None,
            "count": 1,
        }
        assert summary["loss"]["mean"] == run["loss"][-1]
        assert run["loss"][-1] < run["loss"][0], f"{name} learns"
    assert seed[SGDM]["loss"][0] == seed[ORTHOGONAL]["loss"][0], "both start from the same weights"
    assert seed[SGDM]["loss"][1:] != seed[ORTHOGONAL]["loss"][1:]


def test_picture_shows_both_optimisers(outcome: Outcome) -> None:
    path = outcome.folder / "digits.png"
    assert path.stat().st_size < 150_000
    pixels = matplotlib.image.imread(path)[..., :3]
    assert pixels.shape[0] >= 400
    assert pixels.shape[1] >= 1200
    for colour in figure.COLOUR.values():
        near = np.abs(pixels - matplotlib.colors.to_rgb(colour)).max(-1) < 0.02
        assert near.sum() > 200, f"{colour} is on the picture"


def test_bad_choices_are_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--batch", "1281"], "--batch must be at most 1280, got 1281"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    ):
        with pytest.raises(SystemExit, match="2"):
            __main__.parse(words)
        assert said in capsys.readouterr().err


# ---- The arithmetic ------------------------------------------------------------------------------


def _run(accuracy: list[float], step_ms: float, forward_backward_ms: float = 20.0) -> Run:
    count = len(accuracy) - 1
    loss = [1 - value / 100 for value in accuracy]
    return Run(loss, accuracy, [forward_backward_ms] * count, [step_ms] * count)


def _made_up() -> list[dict[str, Run]]:
    slow = [10.0, 40.0, 89.9, 90.0, 89.0, 95.0]
    fast = [10.0, 91.0, 95.0, 96.9, 97.0, 99.0]
    return [
        {SGDM: _run(slow, 1.0), ORTHOGONAL: _run(fast, 3.0)},
        {SGDM: _run([10.0, *slow[:-2], 94.0], 1.0), ORTHOGONAL: _run(fast, 3.5)},
    ]


def test_steps_to_a_target_are_counted_from_the_start() -> None:
    runs = _made_up()
    assert [report.steps_to(seed[SGDM], 90) for seed in runs] == [3, 4]
    assert report.speed(runs, SGDM, 90) == report.Estimate(3.5, 0.5, 2)
    assert report.speed(runs, SGDM, 95).count == 1, "one of two seeds gets there"
    assert report.speed(runs, ORTHOGONAL, 97) == report.Estimate(4.0, 0.0, 2)


def test_standard_error_is_that_of_the_mean() -> None:
    loss, accuracy = report.final(_made_up(), SGDM)
    assert accuracy == report.Estimate(94.5, 0.5, 2)  # 95 and 94: sd sqrt(1/2), over sqrt(2)
    assert math.isclose(loss.mean, 0.055)
    assert math.isnan(report.Estimate.of([1.0]).error)
    assert report.Estimate.of([1.0]).text(1) == "1.0"
    assert accuracy.text(1) == "94.5 ± 0.5"


def test_orthogonalisation_costs_the_paired_difference_of_the_steps() -> None:
    spent = report.cost(_made_up())
    assert spent.forward_backward.median == 20.0
    assert spent.base_step.median == 1.0
    assert spent.orthogonalisation.median == 2.25  # of 2.0 in one seed and 2.5 in the other
    assert math.isclose(spent.overhead_percent, 100 * 2.25 / 21)
    assert spent.resolved


def test_no_ratio_is_shown_for_a_difference_inside_the_noise() -> None:
    even = [10.0] * 8
    runs = [{SGDM: _run(even, 2.0), ORTHOGONAL: _run(even, 2.0)}]
    runs[0][ORTHOGONAL].step_ms = [1.0, 4.0] * 3 + [1.0]
    assert not report.cost(runs).resolved
    assert "lost in the noise" in report.table(runs, steps_per_epoch=5)


# ---- The data, the model and their gradients -----------------------------------------------------


def test_held_out_images_are_a_fair_share_and_never_trained_on(digits: Digits) -> None:
    assert digits.train_x.shape == (1280, 3, 32, 32)
    assert digits.test_x.shape == (517, 3, 32, 32)
    trained, held_out = (torch.bincount(y, minlength=10) for y in (digits.train_y, digits.test_y))
    share = (held_out / (trained + held_out)).numpy()
    np.testing.assert_allclose(share, 517 / 1797, atol=1 / held_out.min().item())
    seen = {image.numpy().tobytes() for image in digits.train_x}
    assert not seen & {image.numpy().tobytes() for image in digits.test_x}
    # Mean and scale are the training images'; summing 3.9 million float32 costs 1e-6 at most.
    assert abs(digits.train_x.double().mean().item()) < 1e-5
    assert abs(digits.train_x.double().std().item() - 1) < 1e-5


def test_batches_are_whole_shuffled_and_the_same_for_the_same_seed(digits: Digits) -> None:
    def epoch(seed: int, size: int = 256) -> list[torch.Tensor]:
        return [y for _, y in data.batches(digits, size, torch.Generator().manual_seed(seed))]

    assert [len(y) for y in epoch(0)] == [256] * 5
    assert [len(y) for y in epoch(0, size=500)] == [500] * 2
    assert torch.equal(torch.cat(epoch(0)), torch.cat(epoch(0)))
    assert not torch.equal(torch.cat(epoch(0)), torch.cat(epoch(1)))
    assert torch.equal(torch.cat(epoch(0)).sort()[0], digits.train_y.sort()[0])


def test_model_is_the_published_one() -> None:
    model = BasicCNN()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS == 24_714
    matrices = [tuple(p.flatten(1).shape) for p in model.parameters() if p.ndim > 1]
    assert matrices == [(32, 27), (32, 288), (32, 288), (10, 512)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_step_norm_is_the_root_of_the_kept_ranks(digits: Digits, seed: int) -> None:
    """Grey images in three channels leave rank 9 of 27, softmax leaves rank 9 of 10."""
    lr = 1e-2
    torch.manual_seed(seed)
    model = BasicCNN()
    x, y = next(data.batches(digits, 256, torch.Generator().manual_seed(seed)))
    cross_entropy(model(x), y).backward()
    weights = [p for p in model.parameters() if p.ndim > 1]
    gradients = [p.grad.clone() for p in weights if p.grad is not None]
    ranks = [int(rank(g.flatten(1).numpy())) for g in gradients]
    assert ranks == [9, 32, 32, 9]
    with torch.no_grad():  # from zero the step is read without the rounding of a difference
        for p in weights:
            p.zero_()
    ortho_optim.OrthogonalSGD(model.parameters(), lr=lr, momentum=0.0, weight_decay=0.0).step()
    norms = [p.detach().double().norm().item() for p in weights]
    # What `exact` promises for every factor holds for its norm, and so for that of the whole step;
    # kept spectra go down to 1e-3 of sigma_1 here.
    bound = exact_bound(torch.float32, 1e4)
    np.testing.assert_allclose(norms, lr * np.sqrt(ranks), rtol=bound)
    whole = math.sqrt(sum(norm**2 for norm in norms))
    np.testing.assert_allclose(whole, lr * math.sqrt(9 + 32 + 32 + 9), rtol=bound)
    for p, gradient in zip(weights, gradients, strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, gradient), "the raw gradient is back"
