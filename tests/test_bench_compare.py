"""`python -m bench compare`: it checks before it times, and says what it did."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import __main__ as bench_main
from bench import compare, comparison, gradients, methods, peers, plot, process, report, shapes
from bench.contender import EXACT, Contender, Piece, per_matrix, run
from bench.timing import first_call, in_turns, quartiles
from bench.truth import Truth, as_matrix
from ortho_kernels.reference import polar as reference

ROOT = Path(__file__).resolve().parent.parent
SMALL = [(7, 20), (12, 3, 2, 2), (9, 9), (30, 11)]
QUICK = ["ok exact", "ok polar_express 5", "torch.linalg.svd"]


def options(*words: str) -> Namespace:
    """What the command line makes of these words, with the defaults that `run` fills in."""
    parser = ArgumentParser()
    compare.add_arguments(parser)
    arguments = parser.parse_args(words)
    arguments.model = arguments.model or ["basiccnn"]
    arguments.spectrum = arguments.spectrum or ["1e4"]
    return arguments


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    before = torch.get_num_threads()
    only = [word for name in QUICK for word in ("--only", name)]
    spectra_ = ("--spectrum", "1e4", "--spectrum", "null")
    result = comparison.compare(options("--rounds", "2", *spectra_, *only))
    torch.set_num_threads(before)
    return result


# ---- Promises ------------------------------------------------------------------------------------

EVERYONE = [*methods.contenders(), *peers.find()[0]]


@pytest.mark.parametrize("one", EVERYONE, ids=lambda one: one.name)
@pytest.mark.parametrize("spectrum", ["gaussian", "1e4", "null"])
def test_everyone_keeps_its_promise_and_answers_in_order(one: Contender, spectrum: str) -> None:
    inputs = gradients.by_name(spectrum, [*SMALL, SMALL[0]])
    first = first_call(one.prepare(inputs), patience=60)
    assert first.answered == len(inputs)
    for i, gradient in enumerate(inputs):
        assert one.promise.broken(first.answers[i], Truth(gradient)) == ""


@pytest.mark.parametrize("one", EVERYONE, ids=lambda one: one.name)
@pytest.mark.parametrize("spectrum", ["1e1", "1e4"])
def test_nonsense_breaks_every_promise(one: Contender, spectrum: str) -> None:
    (x,) = gradients.by_name(spectrum, [(16, 40)])
    truth, factor = Truth(x), torch.from_numpy(reference.polar(x.numpy()))
    nonsense = {
        "zeros": torch.zeros_like(x),
        "NaN": torch.full_like(x, torch.nan),
        "the input": x,
        "another sign": -factor,
        "another order": factor.flip(0),
        "twice": 2 * factor,
    }
    for name, answer in nonsense.items():
        assert one.promise.broken(answer, truth), name


def test_exact_must_drop_what_it_promises_to_drop() -> None:
    (x,) = gradients.one_null([(16, 40)])
    completed = reference.polar(x.numpy(), rank="complete")
    assert "leak 1.0e+00 for 16 x 40" in EXACT.broken(completed, Truth(x))


def nonsense(_: Tensor) -> Tensor:
    return torch.zeros_like(_)


def test_a_wrong_answer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Contender("ok wrong", EXACT, per_matrix(nonsense), ours=True)
    monkeypatch.setattr(comparison, "contenders", lambda only: ([wrong], {}))
    result = comparison.compare(options("--rounds", "1"))
    (told,) = result["cases"][0]["results"]
    assert told["status"] == "wrong"
    assert "error 1.0e+00 > 1.0e-05 for 32 x 27" in told["why"]
    assert report.ours_wrong(result)
    assert "wrong: error 1.0e+00" in report.text(result)
    json.dumps(result, allow_nan=False)


# ---- Timing --------------------------------------------------------------------------------------


def test_turns_are_taken_in_turn() -> None:
    calls: list[str] = []

    def piece(name: str) -> Piece:
        def call() -> Sequence[int]:
            calls.append(name)
            time.sleep(0.03)  # longer than a turn: one call each
            return [0]

        return Piece((0,), call)

    turns: list[None] = []
    ready = {name: [piece(name)] for name in "abc"}
    spans = in_turns(ready, 2, lambda: turns.append(None))
    assert "".join(calls) == "abc" + 2 * "abc"  # once to see how long it takes
    assert len(turns) == 6
    assert all(span.wall >= 0.03 > span.cpu for name in "abc" for span in spans[name])


def test_patience_ends_between_two_pieces() -> None:
    pieces = [Piece((i,), lambda: [time.sleep(0.01)]) for i in (2, 0, 1)]
    assert first_call(pieces, patience=0).answered == 1
    assert not first_call(pieces, patience=0).answers
    assert first_call(pieces, patience=9).answers == dict.fromkeys((0, 1, 2))


@pytest.mark.parametrize(
    ("limits", "status", "told"),
    [
        (("--limit", "0"), "once", " ~ "),
        (("--patience", "0"), "stopped", "stopped after 1 matrices"),
    ],
)
def test_whoever_takes_too_long_is_not_repeated(
    limits: tuple[str, ...], status: str, told: str
) -> None:
    result = comparison.compare(options(*limits, "--only", "torch.linalg.svd"))
    first = result["cases"][0]["results"][0]
    assert first["status"] == status
    assert first["wall_ms"]["q1"] == first["wall_ms"]["q3"] > 0
    assert told in report.text(result)


def test_quartiles_are_milliseconds() -> None:
    assert quartiles([0.004, 0.001, 0.002, 0.003, 0.005]) == {"q1": 2, "median": 3, "q3": 4}
    assert quartiles([0.5]) == {"q1": 500, "median": 500, "q3": 500}


# ---- The record and what is made of it -----------------------------------------------------------


def test_the_record_says_everything(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [case["input"] for case in found["cases"]] == ["1e4", "null"]
    for case in found["cases"]:
        assert case["matrices"] == 4
        assert case["parameters"] == 24_416
        assert case["deficient"] == (4 if case["input"] == "null" else 0)
        assert [one["name"] for one in case["results"]] == [*QUICK, "torch.linalg.svd, by shape"]
        for one in case["results"]:
            assert one["status"] == "timed"
            for kind in ("wall_ms", "cpu_ms"):
                assert 0 < one[kind]["q1"] <= one[kind]["median"] <= one[kind]["q3"]
    exact, polynomial_, svd, _ = found["cases"][1]["results"]
    assert exact["error"] <= 1e-3
    assert exact["leak"] <= 3e-5
    assert svd["leak"] == pytest.approx(1, rel=1e-3)
    assert polynomial_["of_peak"] > 0
    assert polynomial_["gflops"] == pytest.approx(
        polynomial_["of_peak"] * found["peak_gflops"]["float32"]
    )
    assert "of_peak" not in exact


def test_the_table_shows_it(found: dict[str, Any]) -> None:
    text = report.text(found)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in table[0].split("|")[1:-1]] == list(report.COLUMNS)
    assert len({line.count("|") for line in table[:6]}) == 1
    assert len({len(line) for line in table[:6]}) == 1  # a terminal shows a table, too
    assert sum("`ok exact`" in line for line in table) == 3  # twice, and as a ratio
    results = {one["name"]: one["cpu_ms"]["median"] for one in found["cases"][0]["results"]}
    ratio = results["torch.linalg.svd"] / results["ok exact"]
    row = next(line for line in table if "over torch.linalg.svd" in line)
    assert float(row.split("|")[2]) == pytest.approx(ratio, rel=1e-2)
    assert "1 thread(s), processor time, medians of 2 rounds" in text


def test_the_plot_has_a_panel_for_each_case(found: dict[str, Any], tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    heights = []
    for cases in (found["cases"][:1], found["cases"]):
        path = tmp_path / f"{len(cases)}.png"
        plot.save(found | {"cases": cases}, path)
        pixels = image.imread(path)
        heights.append(pixels.shape[:2])
        red = (pixels[..., 0] > 0.6) & (pixels[..., 1] < 0.3)
        assert red.sum() > 100  # ours are drawn
    assert heights[1][1] > 1.5 * heights[0][1]


# ---- Peers, process, command line ----------------------------------------------------------------


def test_a_peer_that_is_not_there_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers._FILES, "no_such_file", "no-such-package")
    everyone, missing = peers.find()
    assert missing["no-such-package"] == (
        "no-such-package is not installed: pip install no-such-package"
    )
    assert "torch.linalg.svd" in [one.name for one in everyone]


def test_a_pinned_environment_stays_as_it_is() -> None:
    wanted = process.pinned({"OPENBLAS_CORETYPE": "x", "PATH": "p", "OMP_NUM_THREADS": "8"}, 1)
    assert "OPENBLAS_CORETYPE" not in wanted
    assert wanted["PATH"] == "p"
    assert {wanted[name] for name in process.COUNTS} == {"1"}
    assert process.pinned(wanted, 1) == wanted
    assert process.pinned(wanted, 2)["OMP_NUM_THREADS"] == "2"


def test_an_unknown_spectrum_is_refused_in_words() -> None:
    with pytest.raises(SystemExit, match=r"spectrum must be gaussian, null or .*, got '1e4x'"):
        next(comparison.cases(options("--spectrum", "1e4x")))
    with pytest.raises(SystemExit, match="names nobody"):
        comparison.compare(options("--only", "nobody"))


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_main.main(["compare", "--help"])
    text = capsys.readouterr().out
    assert all(model in text for model in shapes.MODELS)
    assert "python -m bench compare --gradients resnet20:60" in text


def test_the_command_writes_what_it_says(tmp_path: Path) -> None:
    words = ["--model", "basiccnn", "--only", "ok exact", "--rounds", "1", "--out", "there/it"]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]; "
         "from bench.__main__ import main; sys.exit(main(sys.argv[1:]))", "compare", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "`ok exact`" in done.stdout
    told = json.loads((tmp_path / "there/it.json").read_text())
    assert told["threads"] == 1
    assert (tmp_path / "there/it.png").stat().st_size > 10_000


def test_per_matrix_hands_over_flattened_matrices() -> None:
    seen: list[tuple[int, ...]] = []
    pieces = per_matrix(lambda x: seen.append(tuple(x.shape)))([torch.ones(s) for s in SMALL])
    run(pieces)
    assert seen == [as_matrix(torch.ones(shape)).shape for shape in SMALL]
