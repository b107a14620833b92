"""`python -m bench muon`: a whole step of ortho_optim.Muon beside one of torch.optim.Muon."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from bench import process, shapes

HELP = "a whole step of ortho_optim.Muon beside one of torch.optim.Muon"
DESCRIPTION = """\
Takes steps of ortho_optim.Muon and of torch.optim.Muon, each by its defaults, on every weight of a
model: momentum, five polynomial steps, decay, update. torch's polynomial runs in bfloat16, which a
processor without bfloat16 units emulates, so torch's step with the same polynomial in float32 is
there, too. It takes matrices only, so it is given convolutions already flattened. One step of each
is checked against float64 before any is timed.

  python -m bench muon                     every model; half an hour without bfloat16 units
  python -m bench muon --model resnet20 --model gpt2-block
  python -m bench muon --patience 10       leave out what takes longer than ten seconds
"""
EPILOG = f"""\
models: {", ".join(shapes.MODELS)}

How to read the table
  ms       the median step with its quartiles: processor time on one thread, which a busy machine
           stretches least, and time on the clock on more. A ~ marks a single step that took too
           long to repeat; "est." one that was left out because its cheapest weight and the number
           of operations foretold such a time. The answer of that one was not checked.
  faster   how many times faster the first line of the table is.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", action="append", choices=shapes.MODELS, metavar="NAME", help="may be repeated")
    add("--threads", type=int, default=1, metavar="N", help="of every library (default: 1)")
    add("--rounds", type=int, default=9, metavar="N", help="turns of everyone (default: 9)")
    add(
        "--limit",
        type=float,
        default=20.0,
        metavar="S",
        help="whoever takes longer in the first step is not repeated (default: 20 seconds)",
    )
    add(
        "--patience",
        type=float,
        default=300.0,
        metavar="S",
        help="a step that would take longer is left out (default: 300 seconds)",
    )
    add(
        "--out",
        type=Path,
        default=Path("bench-output/muon.json"),
        metavar="FILE",
        help="default: bench-output/muon.json",
    )


def run(arguments: Namespace) -> int:
    if arguments.threads < 1 or arguments.rounds < 1:
        raise SystemExit("bench muon: --threads and --rounds must be >= 1")
    process.pin(arguments.threads)
    # Not before: these load the libraries that have just been told their threads.
    from bench import muon_report, muon_steps

    models = arguments.model or [name for name in shapes.MODELS if name != "odd-bag"]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for found in muon_steps.measure(models, arguments):
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{muon_report.text(found)}\n\n{arguments.out} written")
    return int(muon_report.any_wrong(found))
