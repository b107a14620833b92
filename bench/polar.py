"""Orthogonalise all gradients of a model once: every method, and torch's SVD one matrix at a time.

    python -m pytest bench/polar.py                                  three models, about a minute
    python -m pytest bench/polar.py --model resnet18 --threads 1     another model, one thread
    python -m pytest bench/polar.py -k exact --condition 1e4         one method, harder gradients

An answer is held to what its method promises (bench/methods.py) before it is timed. How far it is
from the exact factor goes into the record (``--benchmark-json FILE``) beside its time;
bench/table.py makes a table of that record. `python -m bench compare` has the other peers, too, and
times everyone in turns.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import ortho_kernels as ok
from bench import contender, methods, shapes, timing
from bench.gradients import planted
from bench.peers import torch_svd
from bench.table import BASELINE
from bench.truth import Truth

PROMISED = 1e4  # no error is promised beyond this condition number
EVERYONE = {one.name: one for one in (*torch_svd.contenders(), *methods.contenders())}
WAYS = (BASELINE, *(name for name, one in EVERYONE.items() if one.ours))


@pytest.mark.parametrize("way", WAYS)
def bench_polar(benchmark: BenchmarkFixture, model: str, way: str, condition: float) -> None:
    if condition > PROMISED:
        pytest.skip(f"no error is promised beyond condition {PROMISED:g}")
    gradients, truths = _gradients(model, condition), _truths(model, condition)
    pieces = EVERYONE[way].prepare(gradients)
    answers = timing.first_call(pieces, patience=float("inf")).answers
    promise = EVERYONE[way].promise
    broken = [promise.broken(answers[i], truth) for i, truth in enumerate(truths)]
    assert not any(broken), broken
    error = max(truth.error(answers[i]) for i, truth in enumerate(truths))
    benchmark.group = f"{model}, {len(gradients)} matrices, {torch.get_num_threads()} thread(s)"
    benchmark.extra_info |= {"error": error, "condition": condition}
    benchmark.extra_info |= {"torch": torch.__version__, "isa": ok.build_info()["isa"]}
    benchmark(contender.run, pieces)


@cache
def _gradients(model: str, condition: float) -> list[Tensor]:
    return planted(shapes.weights(model), condition)


@cache
def _truths(model: str, condition: float) -> list[Truth]:
    return [Truth(gradient) for gradient in _gradients(model, condition)]
