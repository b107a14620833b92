"""Algorithm 5 in float64: as printed, in two passes over the window, and in one.

The window S holds the last gradients as rows, v is the unit vector that power iteration moves
towards the top eigenvector of S^T S, and t counts the rows that are filled:

    S_j <- g;  w = S^T S v;  lambda = sqrt(||w|| / t) / sigma;  v <- w / ||w||;  |cos(g, v)|

Where nothing of v is left (w = 0, as at the first gradient), v restarts at g / ||g||.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def printed_step_(
    window: Array, vector: Array, gradient: Array, slot: int, filled: int, sigma: float = 1.0
) -> tuple[float, float]:
    """The printed algorithm on S (s, p) and v (p,), both written; (lambda, |cos(g, v)|)."""
    window[slot] = gradient
    rows = window[:filled]
    w = rows.T @ (rows @ vector)
    norm = float(np.linalg.norm(gradient))
    if not np.any(w) and norm > 0:
        w = rows.T @ (rows @ (gradient / norm))
    length = float(np.linalg.norm(w))
    vector[:] = w / length if length > 0 else 0.0
    cosine = abs(float(gradient @ vector)) / norm if norm > 0 else 0.0
    return float(np.sqrt(length / filled)) / sigma, cosine


def window_step_(
    window: Array,
    gram: Array,
    coefficients: Array,
    gradient: Array,
    slot: int,
    filled: int,
    sigma: float = 1.0,
) -> tuple[float, float]:
    """The same in one pass, on S, K = S S^T (s, s) and c (s,) with v = S^T c, all written."""
    x = window[:filled] @ gradient
    c, k = coefficients[:filled], gram[:filled, :filled]
    b = k @ c
    b[slot] = float(x @ c)  # x and c still know the row that leaves
    window[slot] = gradient
    x[slot] = float(gradient @ gradient)
    k[slot], k[:, slot] = x, x
    u = k @ b
    if not b @ u > 0 and x[slot] > 0:
        b = x / np.sqrt(x[slot])
        u = k @ b
    length = float(np.sqrt(max(float(b @ u), 0.0)))  # ||w||, for w = S^T b
    c[:] = b / length if length > 0 else 0.0
    parallel = length > 0 and x[slot] > 0
    cosine = abs(float(u[slot])) / (length * np.sqrt(x[slot])) if parallel else 0.0
    return float(np.sqrt(length / filled)) / sigma, float(cosine)


def vector(window: Array, coefficients: Array, filled: int) -> Array:
    """v = S^T c."""
    result: Array = window[:filled].T @ coefficients[:filled]
    return result


def topk(window: Array, filled: int, k: int, sigma: float = 1.0) -> Array:
    """sqrt(mu_i / t) / sigma of the k largest eigenvalues mu_i of S S^T, the largest first."""
    rows = window[:filled]
    mu = np.linalg.eigvalsh(rows @ rows.T)[::-1][:k]
    result: Array = np.sqrt(np.maximum(mu, 0.0) / filled) / sigma
    return result
