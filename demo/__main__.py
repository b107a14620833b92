"""The command: read the choices, train, print the table, write the picture and the numbers."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import ortho_kernels as ok
from demo import data, machine, report
from demo.figure import draw
from demo.train import Settings, train

DESCRIPTION = """\
Trains a small convolutional network on real handwritten digits twice: with SGD with momentum (SGDM)
and with the same optimiser on orthogonalised gradients (Orthogonal-SGDM), from the same weights and
on the same batches. Prints how well and how fast each learns, and what orthogonalising costs.

The images come with scikit-learn, so nothing is downloaded. 517 of the 1797 are held out, every
digit in its share; all losses and accuracies are measured on those and never on training images."""

EPILOG = """\
what to try:
  python -m demo                        the whole comparison, one to three minutes on two cores
  python -m demo --seeds 1 --epochs 5   a first look in a few seconds
  python -m demo --method svd           orthogonalise with torch's SVD, to compare the cost
  python -m demo --lr 0.1               does the comparison hold at another learning rate?

what comes out, in the folder --out:
  table.md       the table that is printed
  digits.png     the picture: accuracy, loss and time
  results.json   every number behind both, with the machine and the versions"""


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the line breaks of the texts above and shows every default."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=DESCRIPTION, epilog=EPILOG, formatter_class=_Help
    )
    default = Settings()

    def add(flag: str, kind: type, value: object, text: str) -> None:
        metavar = {int: "N", float: "X", str: "NAME", Path: "FOLDER"}[kind]
        parser.add_argument(flag, type=kind, default=value, metavar=metavar, help=text)

    add("--seeds", int, default.seeds, "runs per optimiser; a standard error needs at least 2")
    add("--epochs", int, default.epochs, "passes over the 1280 training images")
    add("--batch", int, default.batch, "images per step")
    add("--lr", float, default.lr, "learning rate of both optimisers")
    add("--momentum", float, default.momentum, "momentum of both optimisers")
    add("--weight-decay", float, default.weight_decay, "weight decay of both optimisers")
    add("--method", str, default.method, "how to orthogonalise: a method of ortho_kernels.polar")
    add("--threads", int, torch.get_num_threads(), "threads, for torch and for the kernels")
    add("--out", Path, Path("demo-output"), "where the results are written")
    chosen = parser.parse_args(arguments)
    for name in ("seeds", "epochs", "batch", "threads"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(chosen, name)}")
    if chosen.batch > data.TRAIN_SIZE:
        parser.error(f"--batch must be at most {data.TRAIN_SIZE}, got {chosen.batch}")
    return chosen


def main(arguments: list[str] | None = None) -> None:
    chosen = parse(arguments)
    torch.set_num_threads(chosen.threads)
    ok.set_num_threads(chosen.threads)
    names = ("seeds", "epochs", "batch", "lr", "momentum", "weight_decay", "method")
    settings = Settings(**{name: getattr(chosen, name) for name in names})
    digits = data.load()
    steps_per_epoch = data.TRAIN_SIZE // settings.batch

    begin = time.perf_counter()
    total = settings.seeds * settings.epochs * steps_per_epoch
    with tqdm(total=total, unit="step", desc="both optimisers") as bar:
        runs = [train(digits, settings, seed, bar.update) for seed in range(settings.seeds)]
    seconds = time.perf_counter() - begin

    chosen.out.mkdir(parents=True, exist_ok=True)
    table = report.table(runs, steps_per_epoch)
    numbers = report.as_json(runs, settings, steps_per_epoch, machine.describe())
    text = f"{table}\n\n{_notes(numbers, seconds)}\n"
    (chosen.out / "table.md").write_text(text, encoding="utf-8")
    (chosen.out / "results.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    draw(runs, settings, chosen.out / "digits.png")
    print(f"\n{text}\nWritten to {chosen.out}: digits.png (look at it), table.md, results.json")


def _notes(numbers: dict[str, Any], seconds: float) -> str:
    where, settings = numbers["machine"], numbers["settings"]
    isa, seeds = where["ortho_kernels"]["isa"], settings["seeds"]
    return (
        f"± is one standard error over {seeds} seed(s); times are medians (quartiles).\n"
        f"{where['date']}, {where['processor']}, {where['torch_threads']} thread(s), "
        f"torch {where['torch']}, native kernels: {isa}; trained in {seconds:.0f} s."
    )


if __name__ == "__main__":
    main()
