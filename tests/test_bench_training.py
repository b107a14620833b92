"""The share of a training step: what is timed is the step, and only answers that are right."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import nn

from bench import networks, training
from bench.__main__ import main
from bench.contender import Piece


def tiny(batch: int = 4) -> networks.Training:
    """A linear layer with a bias, which is not orthogonalised."""
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    batches = repeat((torch.randn(batch, 6), torch.arange(batch) % 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return networks.Training(model, optimizer, batches, nn.functional.cross_entropy)


def test_every_step_trains_and_every_way_is_timed() -> None:
    network = tiny()
    before = network.model.weight.detach().clone()
    times = training.measure(network, steps=3, warm_up=1)
    assert not torch.equal(network.model.weight, before)
    assert len(times.step) == 3
    assert {name: len(seconds) for name, seconds in times.ways.items()} == dict.fromkeys(
        training.NAMES, 3
    )


def test_the_share_is_of_a_step_that_has_it() -> None:
    times = training.Times([3.0, 1.0, 2.0], {"ok exact": [0.5, 0.4, 9.0]})
    assert times.share("ok exact") == 0.5 / 2.5


def test_a_wrong_answer_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = training.contenders()
    spoiled: Any = replace(
        honest["ok exact"], prepare=lambda gradients: [Piece((0,), lambda: [2 * gradients[0]])]
    )
    monkeypatch.setattr(training, "contenders", lambda: honest | {"ok exact": spoiled})
    with pytest.raises(SystemExit, match="ok exact: error"):
        training.measure(tiny(), steps=1)


def test_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], threads: object
) -> None:
    monkeypatch.setattr(training.process, "pin", lambda threads: None)
    monkeypatch.setattr(training, "NETWORKS", {"basic_cnn": tiny})
    before = torch.get_num_threads()
    try:
        assert main(["training", "--steps", "2"]) == 0
    finally:
        torch.set_num_threads(before)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["network", "batch", "step", "ms", "orthogonalised", "by", "ms", "%"]
    assert lines[1].startswith("basic_cnn       32")
    assert [line[30:50].strip() for line in lines[1:]] == list(training.NAMES)
