"""Real images that need no download: scikit-learn ships 1797 handwritten digits of 8 x 8 pixels.

They are enlarged to 32 x 32 and copied to three channels, the input that the thesis's BasicCNN was
made for. Three equal channels have a consequence worth knowing: the gradient of the first 3 x 3
convolution holds every column three times, so its rank is 9 and not 27.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import interpolate

TRAIN_SIZE = 1280  # five batches of 256, so that no step sees a smaller batch than another
SPLIT_SEED = 0  # one split for all seeds: the seeds vary the initial weights and the data order
CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Standardised images (n, 3, 32, 32) and labels (n,), for training and held out."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def load() -> Digits:
    """Split, enlarge and standardise; the mean and the scale come from the training images only."""
    raw = load_digits()
    split = train_test_split(
        raw.images.astype("float32"),
        raw.target.astype("int64"),
        train_size=TRAIN_SIZE,
        stratify=raw.target,
        random_state=SPLIT_SEED,
    )
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in split)
    train_x, test_x = _enlarge(train_x), _enlarge(test_x)
    scale, mean = torch.std_mean(train_x)
    return Digits((train_x - mean) / scale, train_y, (test_x - mean) / scale, test_y)


def batches(data: Digits, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order; the incomplete batch at the end is left out, as is usual."""
    order = torch.randperm(len(data.train_y), generator=generator)
    for rows in order[: len(order) // size * size].split(size):
        yield data.train_x[rows], data.train_y[rows]


def _enlarge(images: Tensor) -> Tensor:
    """(n, 8, 8) grey -> (n, 3, 32, 32); the copy to three channels is exact."""
    grey = interpolate(images[:, None], size=(32, 32), mode="bilinear", align_corners=False)
    return grey.repeat(1, 3, 1, 1)
