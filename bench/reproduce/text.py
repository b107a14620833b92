"""Real text without a download: the sources of Python's own standard library.

Every tenth file is held out for the losses that are reported, and another tenth for the choice of
learning rates, so that neither has been trained on and no rate is chosen on what is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench import networks

EVERY = 10  # of so many files one is held out, and one is left for choosing


@dataclass(frozen=True)
class Text:
    """One token a byte."""

    train: Tensor
    choice: Tensor
    held_out: Tensor


def load() -> Text:
    train, choice, held_out = split(networks.standard_library())
    return Text(*(networks.as_tokens(files) for files in (train, choice, held_out)))


def split(files: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    rest = [file for i, file in enumerate(files) if i % EVERY not in (EVERY // 2, EVERY - 1)]
    return rest, files[EVERY // 2 :: EVERY], files[EVERY - 1 :: EVERY]


def spread(text: Tensor, count: int, length: int) -> Tensor:
    """`count` pieces of one token more than `length`, at even distances: always the same ones."""
    starts = torch.linspace(0, len(text) - length - 1, count).long()
    return text[starts[:, None] + torch.arange(length + 1)]
