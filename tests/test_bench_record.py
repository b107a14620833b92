"""Recorded gradients: the networks are those of the docs, and files hold what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import networks, record
from bench.networks import Training
from bench.truth import Truth


def tiny() -> Training:
    """Two linear layers, a convolution and a bias, which is not recorded; exact batches."""
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(12, 5, bias=False))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        while True:
            yield torch.randn(4, 1, 3, 3, generator=generator), torch.arange(4)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return Training(model, optimizer, batches(), nn.functional.cross_entropy)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setitem(networks.NETWORKS, "tiny", tiny)
    monkeypatch.setattr(record, "OUTPUT", tmp_path)
    return "tiny"


def test_gradients_are_those_of_their_step(network: str) -> None:
    found = record.record(network, [0, 2])
    assert list(found) == [0, 2]
    assert {name: tuple(g.shape) for name, g in found[2].items()} == {
        "0.weight": (3, 1, 2, 2),
        "2.weight": (5, 12),
    }
    torch.manual_seed(0)
    again = tiny()
    for step in range(3):
        x, y = next(again.batches)
        again.optimizer.zero_grad()
        again.loss(again.model(x), y).backward()
        if step in found:
            wanted = again.model.get_parameter("2.weight").grad
            assert wanted is not None
            assert torch.equal(found[step]["2.weight"], wanted)
        again.optimizer.step()


def test_a_file_holds_what_was_recorded(network: str, tmp_path: Path) -> None:
    found = record.record(network, [0, 3])
    path = tmp_path / "there" / "it.npz"
    record.save(path, network, found)
    for step, gradients in found.items():
        loaded = record.load(f"{path}:{step}")
        assert list(loaded) == list(gradients)
        for name, gradient in gradients.items():
            assert loaded[name].dtype == torch.float32
            assert torch.equal(loaded[name], gradient)
    for wrong, told in ((":1", "got 1"), ("", "got none")):
        with pytest.raises(ValueError, match=rf"holds steps \[0, 3\], {told}"):
            record.load(f"{path}{wrong}")
    with pytest.raises(ValueError, match="must be FILE:STEP or NETWORK:STEP, got 'it:now'"):
        record.load("it:now")


def test_a_network_is_recorded_on_the_spot_once(network: str, tmp_path: Path) -> None:
    first = record.load("tiny:1")
    file = tmp_path / "tiny-1.npz"
    written = file.stat().st_mtime_ns
    again = record.load("tiny:1")
    assert file.stat().st_mtime_ns == written
    assert all(torch.equal(again[name], gradient) for name, gradient in first.items())


def test_resnet20_is_the_one_of_the_docs() -> None:
    pytest.importorskip("sklearn")
    training = networks.resnet20(batch=8)
    assert sum(p.numel() for p in training.model.parameters()) == 269_722
    found = _first_gradients(training)
    assert len(found) == 20
    assert Truth(found["0.weight"]).rank == 9  # grey images in three channels
    assert Truth(found["14.weight"]).rank <= 9  # softmax


def test_layernorm_takes_one_direction_of_the_transformer() -> None:
    found = _first_gradients(networks.transformer(tokens=512, length=64))
    assert len(found) == 25
    truth = Truth(found["blocks.0.up.weight"])
    assert truth.rank == 127
    assert truth.sigma[-1] < 1e-7 * truth.sigma[0]


def _first_gradients(training: Training) -> dict[str, Tensor]:
    torch.manual_seed(0)
    x, y = next(training.batches)
    replace(training, batches=iter(())).loss(training.model(x), y).backward()
    return record._gradients(training.model)
