"""What a bench run can be told on its command line."""

from __future__ import annotations

import pytest
import torch

import ortho_kernels as ok
from bench.shapes import MODELS

QUICK = ("basiccnn", "resnet20", "gpt2-block")  # the others take minutes where an SVD is timed


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench")
    group.addoption(
        "--model",
        action="append",
        choices=MODELS,
        help=f"a model to bench, may be given again (default: {', '.join(QUICK)})",
    )
    group.addoption(
        "--condition",
        type=float,
        default=100.0,
        help="condition number of the planted spectra (default: 100)",
    )
    group.addoption("--threads", type=int, help="threads of torch and of the kernels")


def pytest_configure(config: pytest.Config) -> None:
    threads = config.getoption("--threads")
    if threads:
        torch.set_num_threads(threads)
        ok.set_num_threads(threads)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "model" in metafunc.fixturenames:
        models = metafunc.config.getoption("--model") or QUICK
        metafunc.parametrize("model", models, scope="module")


@pytest.fixture(scope="module")
def condition(request: pytest.FixtureRequest) -> float:
    chosen: float = request.config.getoption("--condition")
    return chosen
