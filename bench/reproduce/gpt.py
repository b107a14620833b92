"""`python -m bench.reproduce.gpt`: a small GPT on real text, with and without orthogonalisation."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

import ortho_kernels as ok
from bench import process
from bench.reproduce import text
from bench.reproduce.experiment import Experiment
from bench.reproduce.methods import METHODS
from bench.reproduce.train import Settings

DESCRIPTION = """\
Trains a small character-level GPT on the sources of Python's standard library (nothing is
downloaded) by AdamW, by Orthogonal-AdamW and by Muon, all with the same steps, characters, initial
weights and batches, and reports the loss on files that none has seen.

The question: attention heads are components of their own, so should each head's block of query, key
and value be orthogonalised by itself ("heads"), or the matrix as a whole ("whole")? Every way of
orthogonalising is run both ways, and the difference is taken seed by seed.
"""
EPILOG = f"""\
what to try:
  python -m bench.reproduce.gpt                 all of it: some twenty minutes of one core
  python -m bench.reproduce.gpt --only Muon     one family, and what it needs of AdamW
  python -m bench.reproduce.gpt --quick         a toy, in seconds, to see what comes out

It can be stopped at any time: each finished run is a file, and is not repeated.

methods: {"; ".join(method.name for method in METHODS)}

Embeddings, head and norms are on AdamW in every method. Learning rates are chosen before, for each
method by itself, on a seed and on files that serve nothing else, from a grid of factors of two that
grows until its best has a worse neighbour on both sides: AdamW's one rate for everything; then that
of the matrices, and then that of the rest beside the best of those, first for AdamW with two rates,
and from what it found for the others.

what comes out, in the folder --out:
  table.md       the tables that are printed
  gpt.png        the picture: loss against step, final losses, the time of a step
  results.json   every number behind both, with the grid, the machine and the versions
  runs/          a file for each run, with its curve and its times
"""
QUICK = Settings(
    width=16, heads=2, layers=1, length=16, batch=4, steps=6, every=2, judged=8, watched=4
)


def parse(words: Sequence[str] | None = None) -> Namespace:
    parser = ArgumentParser(
        "python -m bench.reproduce.gpt",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    steps = Settings.steps
    add("--seeds", type=int, metavar="N", help="runs a method (default: 5; 2 with --quick)")
    add("--steps", type=int, metavar="N", help=f"a run (default: {steps}; 6 with --quick)")
    add("--only", action="append", default=[], metavar="WORD", help="methods whose name has it")
    add("--quick", action="store_true", help="a toy model and a few steps, to try the command")
    add("--threads", type=int, default=1, metavar="N", help="of every library (default: 1)")
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="default: bench-output/gpt; gpt-quick with --quick",
    )
    chosen = parser.parse_args(words)
    chosen.seeds = (2 if chosen.quick else 5) if chosen.seeds is None else chosen.seeds
    chosen.settings = QUICK if chosen.quick else Settings()
    if chosen.steps is not None:
        chosen.settings = Settings(**{**vars(chosen.settings), "steps": chosen.steps})
    chosen.out = chosen.out or Path("bench-output", "gpt-quick" if chosen.quick else "gpt")
    chosen.methods = [
        m for m in METHODS if not chosen.only or any(word in m.name for word in chosen.only)
    ]
    for name, value in (("seeds", chosen.seeds), ("threads", chosen.threads)):
        if value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    if chosen.settings.steps < chosen.settings.every:
        parser.error(f"--steps must be at least {chosen.settings.every}, got {chosen.steps}")
    if not chosen.methods:
        parser.error(f"--only {' '.join(chosen.only)} names no method")
    return chosen


def main(words: Sequence[str] | None = None) -> int:
    chosen = parse(words)
    process.pin(chosen.threads)
    # Not before: the picture needs libraries that have just been told their threads.
    from bench.reproduce import figure, report

    torch.set_num_threads(chosen.threads)
    ok.set_num_threads(chosen.threads)
    with tqdm(unit="step", disable=None) as bar:

        def progress(what: str, steps: int) -> None:
            bar.set_description(what, refresh=False)
            bar.update(steps)

        experiment = Experiment(chosen.out / "runs", text.load(), chosen.settings, progress)
        for method in chosen.methods:
            bar.write(report.choice(method, experiment.choice(method)))
        # Seed by seed, so that what is there when it is stopped can be compared.
        for seeds in range(1, chosen.seeds + 1):
            results = [experiment.result(method, seeds) for method in chosen.methods]
            found = report.as_record(results, chosen.settings)
            _write(chosen.out, "results.json", json.dumps(found, indent=1))
            _write(chosen.out, "table.md", report.text(found))
            figure.draw(found, chosen.out / "gpt.png")
            bar.write(f"{seeds} of {chosen.seeds} seeds")
    print(report.text(found))
    print(f"\nWritten to {chosen.out}: gpt.png (look at it), table.md, results.json, runs/")
    return 0


def _write(folder: Path, name: str, told: str) -> None:
    (folder / name).write_text(told + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
