"""`python -m bench compare`: every method and every installed peer on the gradients of a model."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from bench import process, shapes

HELP = "every method and every installed peer on the gradients of a model"
DESCRIPTION = """\
Orthogonalises all gradients of a model with every method of ortho_kernels and with every peer that
is installed (torch, scipy, jax, optax, gram-newton-schulz), in one process and in turns, and says
how long each takes and how far from the polar factor it ends. Every answer is checked against the
float64 truth before anything is timed.

  python -m bench compare                                      ResNet-20, condition 1e4, one thread
  python -m bench compare --model resnet18 --threads 2
  python -m bench compare --model gpt2-block --spectrum null   as a transformer's gradients are
  python -m bench compare --gradients resnet20:60              real ones, recorded first (minutes)
  python -m bench compare --only exact --only linalg.svd       two of them, quickly
"""
EPILOG = f"""\
models: {", ".join(shapes.MODELS)}

spectra: gaussian; a condition number such as 1e4 (singular values falling evenly in logarithm); or
null (one direction at 1e-8 of the largest, the others down to 1e-6).

How to read the table
  ms       the median of the rounds with its quartiles: processor time on one thread, which a busy
           machine stretches least, and time on the clock on more. A ~ marks a single call that took
           too long to repeat.
  error    ||O - U V^T|| / ||U V^T|| on the range that every exact method keeps, the worst matrix.
  leak     what becomes of a null direction: 0 where it is dropped, 1 where it is blown up to 1.
  of peak  the rate of a polynomial in full products, against the fastest float32 product that torch
           shows here. Over 100 % where a method gets along with less than full products.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", action="append", choices=shapes.MODELS, metavar="NAME", help="may be repeated")
    add("--spectrum", action="append", metavar="NAME", help="may be repeated (default: 1e4)")
    add(
        "--gradients",
        action="append",
        default=[],
        metavar="FILE:STEP",
        help="recorded gradients: a file of bench.record and a step in it, or resnet20:60 or "
        "transformer:120, recorded on the spot; may be repeated, and then no model is the default",
    )
    add("--threads", type=int, default=1, metavar="N", help="of every library (default: 1)")
    add("--rounds", type=int, default=9, metavar="N", help="turns of everyone (default: 9)")
    add("--only", action="append", default=[], metavar="WORD", help="names that contain this word")
    add(
        "--limit",
        type=float,
        default=20.0,
        metavar="S",
        help="whoever takes longer in the first call is not called again (default: 20 seconds)",
    )
    add(
        "--patience",
        type=float,
        default=120.0,
        metavar="S",
        help="after so long a first call is stopped before its next matrix (default: 120 seconds)",
    )
    add(
        "--out",
        type=Path,
        default=Path("bench-output/compare"),
        metavar="STEM",
        help="writes STEM.json and STEM.png (default: bench-output/compare)",
    )


def run(arguments: Namespace) -> int:
    if arguments.threads < 1 or arguments.rounds < 1:
        raise SystemExit("bench compare: --threads and --rounds must be >= 1")
    process.pin(arguments.threads)
    # Not before: these load the libraries that have just been told their threads.
    from bench import comparison, plot, report

    if not arguments.model:
        arguments.model = [] if arguments.gradients else ["resnet20"]
    arguments.spectrum = arguments.spectrum or ["1e4"]
    found = comparison.compare(arguments)
    print(report.text(found))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    json_file, image = (arguments.out.with_suffix(suffix) for suffix in (".json", ".png"))
    json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plot.save(found, image)
    print(f"\n{json_file} and {image} written")
    return int(report.ours_wrong(found))
