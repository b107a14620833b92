"""The window's bench: only ways that agree with the printed algorithm are timed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import needs_native

from bench import window
from bench.__main__ import main

pytestmark = needs_native
SMALL = ["window", "--numbers", "500", "--rows", "6", "--rounds", "2"]


def test_it_reports_every_way(capsys: Any) -> None:
    before = torch.get_num_threads()
    try:
        assert main(SMALL) == 0
    finally:
        torch.set_num_threads(before)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("6 x 500, read bandwidth")
    assert [line[:16].strip() for line in lines[2:]] == [
        "float32",
        "bfloat16",
        "torch, rows",
        "torch, columns",
    ]


@pytest.mark.parametrize("way", ["Fused", "Printed"])
def test_a_way_that_differs_ends_it(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    cls = getattr(window, way)
    right = cls.__call__
    monkeypatch.setattr(cls, "__call__", lambda self: 1.01 * right(self))
    with pytest.raises(SystemExit, match=r"window: .* is off by 1\.0e-02"):
        main(SMALL)
