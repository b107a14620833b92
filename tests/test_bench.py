"""The shapes and the synthetic gradients of the benches, against what is published and planted."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from bench import gradients, shapes, table

# Matrices, weights of convolutions and linear layers, and the sum of min(rows, columns).
PUBLISHED = {
    "basiccnn": (4, 24_416, 101),  # 24,714 less 298 biases and normalisation weights
    "resnet20": (20, 268_336, 698),  # 269,722 less 1,386
    "resnet18": (21, 11_678_912, 4_864),  # torchvision's 11,689,512 less 10,600
    "resnet50": (54, 25_502_912, 14_248),  # torchvision's 25,557,032 less 54,120
    "vit-s": (50, 21_912_576, 19_200),
    "gpt2-block": (6, 7_077_888, 4_608),
    "llama-1b-block": (7, 60_817_408, 11_264),
    "odd-bag": (7, 237_289, 376),
}


@pytest.mark.parametrize("model", shapes.MODELS)
def test_shapes_are_those_of_the_published_models(model: str) -> None:
    weights, matrices = shapes.weights(model), shapes.matrices(model)
    assert (len(weights), sum(map(prod, weights)), sum(map(min, matrices))) == PUBLISHED[model]
    assert list(map(prod, weights)) == list(map(prod, matrices))


def test_an_unknown_model_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"model must be one of basiccnn, .*, got 'resnet21'"):
        shapes.weights("resnet21")


def test_planted_spectra_are_there() -> None:
    wanted = [(16, 3, 3, 3), (64, 64), (40, 10), (1, 7)]
    for shape, gradient in zip(wanted, gradients.planted(wanted, 1e4), strict=True):
        assert tuple(gradient.shape) == shape
        sigma = np.linalg.svd(gradient.flatten(1).double().numpy(), compute_uv=False)
        # Rounding to float32 moves each singular value by at most eps / 2 of the Frobenius norm.
        planted = np.geomspace(1, 1e-4, len(sigma))
        moved = 2.0**-24 * np.linalg.norm(planted)
        np.testing.assert_allclose(sigma, planted, rtol=0, atol=moved + 1e-12)


def test_table_shows_medians_and_ratios() -> None:
    def entry(group: str, way: str, median: float) -> dict[str, object]:
        return {"group": group, "params": {"way": way}, "stats": {"median": median}}

    record = {
        "benchmarks": [
            entry("small", "torch.linalg.svd", 4e-3),
            entry("small", "exact", 1e-3),
            entry("large", "exact", 2.0),
        ]
    }
    assert table.table(record).splitlines() == [
        "|  | torch.linalg.svd | exact |",
        "| --- | ---: | ---: |",
        "| small | 4.00 | 1.00 (4.0x) |",
        "| large |  | 2000 |",
    ]
