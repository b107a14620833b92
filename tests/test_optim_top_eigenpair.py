"""TopEigenpair: what it says of known curvature, its state, and the step sizes it sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from demo import data
from demo.model import BasicCNN
from ortho_kernels.reference.window_step_ import topk as reference_topk
from ortho_optim import OrthogonalSGD, TopEigenpair
from ortho_optim.top_eigenpair import GradientWindow


def parameters(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in shapes]


def give(params: list[nn.Parameter], flat: Tensor) -> None:
    pieces = torch.split(flat, [p.numel() for p in params])
    for p, piece in zip(params, pieces, strict=True):
        p.grad = piece.view(p.shape).to(p.dtype)


def planted_curvature(rng: np.random.Generator, n: int, top: float) -> tuple[Tensor, Tensor]:
    """A symmetric H with eigenvalues -top and then evenly below 0.8 top, and its top vector."""
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = np.linspace(0.1, 0.8, n) * top
    values[0] = -top
    return torch.from_numpy(basis * values @ basis.T), torch.from_numpy(basis[:, 0].copy())


@pytest.mark.parametrize("sigma", [1.0, 0.05])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_finds_the_eigenvalue_of_largest_size_and_its_vector(
    dtype: torch.dtype, sigma: float
) -> None:
    rng = np.random.default_rng(0)
    params = parameters((3, 4), (8,), dtype=torch.float64)
    curvature, top = planted_curvature(rng, 20, 7.0)
    pair = TopEigenpair(params, window=400, sigma=sigma, dtype=dtype)
    for _ in range(1000):
        give(params, curvature @ torch.from_numpy(sigma * rng.standard_normal(20)))
        pair.update()
    # The deviation of an eigenvalue of a covariance of s samples is sqrt(2 / s) of it, half of
    # that for its root.
    assert pair.eigenvalue == pytest.approx(7.0, rel=4 * math.sqrt(2 / 400) / 2)
    pieces = pair.vector()
    assert [piece.shape for piece in pieces] == [p.shape for p in params]
    v = torch.cat([piece.reshape(-1) for piece in pieces])
    assert float(v.norm()) == pytest.approx(1.0, rel=1e-6)
    assert abs(float(v @ top)) > 0.97
    g = torch.cat([p.grad.reshape(-1) for p in params])
    assert pair.cosine == pytest.approx(abs(float(v @ g)) / float(g.norm()), abs=1e-2)
    assert pair.residual() < 0.05


def test_topk_is_eigh_of_the_window() -> None:
    rng = np.random.default_rng(1)
    params = parameters((40, 5))
    pair = TopEigenpair(params, window=30, sigma=0.3)
    rows = []
    for step in range(70):
        rows.append(rng.standard_normal(200).astype(np.float32) * np.geomspace(1, 9, 200))
        rows[-1] = rows[-1].astype(np.float32)
        give(params, torch.from_numpy(rows[-1]))
        pair.update()
        if step in (0, 10, 29, 30, 69):
            held = np.array(rows[-30:], np.float64)
            wanted = reference_topk(held, len(held), 7, 0.3)
            got = pair.topk(7).numpy()
            assert got.shape == wanted.shape
            assert np.abs(got / wanted - 1).max() <= 1e-6
    (part,) = pair.parts
    _, u = np.linalg.eigh(held.T @ held)
    for i, pieces in enumerate(part.top_vectors(3)):
        assert abs(float(pieces[0].numpy().ravel() @ u[:, -1 - i])) == pytest.approx(1, abs=1e-6)
    assert pair.topk(100).shape == (30,)
    with pytest.raises(ValueError, match=r"^TopEigenpair: k must be >= 1, got 0$"):
        pair.topk(0)


def test_iterating_on_one_window_ends_at_its_own_top() -> None:
    """And then v is an eigenvector: the residual is 0, the eigenvalue the first of topk."""
    rng = np.random.default_rng(2)
    params = parameters((50,))
    pair = TopEigenpair(params, window=5)
    rows = [torch.from_numpy(rng.standard_normal(50)) * (i + 1) for i in range(5)]
    for _ in range(60):
        for row in rows:
            give(params, row)
            pair.update()
    assert pair.residual() < 1e-6
    assert pair.eigenvalue == pytest.approx(float(pair.topk(1)), rel=1e-9)


def test_parts_per_group_and_per_tensor() -> None:
    params = parameters((3,), (2, 2), (5,))
    groups = [{"params": params[:2]}, {"params": params[2]}]
    by_group, by_tensor = (
        TopEigenpair(groups, 4, per="group"),
        TopEigenpair(groups, 4, per="tensor"),
    )
    give(params, torch.arange(1.0, 13.0))
    params[1].grad = None  # zeros
    by_group.update()
    by_tensor.update()
    norms = [float(p.grad.norm()) if p.grad is not None else 0.0 for p in params]
    got = [part.eigenvalue for part in by_group.parts]
    assert got == pytest.approx([norms[0], norms[2]])
    assert [part.eigenvalue for part in by_tensor.parts] == pytest.approx(norms)
    assert by_tensor.eigenvalue == pytest.approx(norms[2])
    assert by_tensor.cosine == pytest.approx(1.0)
    assert by_tensor.parts[1].steps == 0  # nothing to record is no gradient of zeros
    assert by_group.topk(9).tolist() == pytest.approx([norms[2], norms[0]])


def test_a_gradient_that_is_not_finite_is_skipped_and_counted() -> None:
    params = parameters((4, 3), (2,))
    pair, clean = TopEigenpair(params, 3), TopEigenpair(params, 3)
    rng = np.random.default_rng(3)
    for step in range(8):
        give(params, torch.from_numpy(rng.standard_normal(14)))
        clean.update()
        pair.update()
        params[1].grad[0] = math.nan if step % 2 else math.inf
        pair.update()
    assert pair.skipped == 8
    assert clean.skipped == 0
    assert pair.eigenvalue == clean.eigenvalue
    assert torch.equal(pair.topk(3), clean.topk(3))


@pytest.mark.parametrize("dim", [None, 64])
def test_state_goes_on_where_it_was(dim: int | None) -> None:
    rng = np.random.default_rng(4)
    params = parameters((10, 10))
    one, other = (TopEigenpair(params, 6, dim=dim, per="tensor") for _ in range(2))
    for step in range(20):
        give(params, torch.from_numpy(rng.standard_normal(100)))
        one.update()
        if step == 9:
            other.load_state_dict(one.state_dict())
        elif step > 9:
            other.update()
    assert (one.eigenvalue, one.cosine) == (other.eigenvalue, other.cosine)
    assert torch.equal(one.topk(6), other.topk(6))


def test_state_of_another_window_is_refused_before_anything_changes() -> None:
    params = parameters((10, 10))
    pair = TopEigenpair(params, 6)
    for other, words in (
        (TopEigenpair(params, 5), r"window must have shape \(6, 100\), got \(5, 100\)"),
        (TopEigenpair(params, 6, dtype=torch.bfloat16), "window must have dtype torch.float32"),
        (TopEigenpair(params, 6, dim=100), "sketch must be None as here"),
        (TopEigenpair(parameters((1,), (2,)), 6, per="tensor"), "state must have 1 parts, got 2"),
    ):
        with pytest.raises(ValueError, match=f"^TopEigenpair: {words}"):
            pair.load_state_dict(other.state_dict())
    assert pair.parts[0].steps == 0


def test_sketched_windows_keep_the_spectrum_with_the_stated_bias() -> None:
    """Over seeds: about tr(K) / (lambda_1 d) above, in squares; and no vector."""
    rng = np.random.default_rng(5)
    rows, numbers, dim, seeds = 40, 6000, 500, 30
    direction = rng.standard_normal(numbers) / math.sqrt(numbers)
    series = [
        rng.standard_normal(numbers) / math.sqrt(numbers) + 3 * rng.standard_normal() * direction
        for _ in range(rows)
    ]
    params = parameters((numbers,))
    exact = TopEigenpair(params, rows)
    sketched = [TopEigenpair(params, rows, dim=dim, seed=seed) for seed in range(seeds)]
    for g in series:
        give(params, torch.from_numpy(g))
        for pair in (exact, *sketched):
            pair.update()
    mu = exact.topk(rows).square()
    bias = float(mu.sum() / mu[0] / dim)
    ratios = np.array([float(pair.topk(1)) ** 2 for pair in sketched]) / float(mu[0])
    spread = math.sqrt(2 / dim)  # of a squared norm
    assert abs(ratios.mean() - 1 - bias) <= 4 * spread / math.sqrt(seeds)
    assert ratios.std() <= 1.5 * spread
    with pytest.raises(RuntimeError, match=r"^TopEigenpair: vector must have the gradients them"):
        sketched[0].vector()
    assert sketched[0].parts[0]._window.shape == (rows, dim)


def test_uneven_displacements_turn_it_to_another_direction() -> None:
    """Eigenvalues 10 and 6, displacements 25 times as large in variance along the second: the
    covariance of the gradients is H Sigma H, and v is the second direction, not the top."""
    rng = np.random.default_rng(6)
    params = parameters((2,))
    pair = TopEigenpair(params, window=500)
    for _ in range(800):
        give(params, torch.from_numpy(rng.standard_normal(2) * (10.0, 6.0 * 5.0)))
        pair.update()
    assert abs(float(pair.vector()[0][1])) > 0.99
    assert pair.eigenvalue == pytest.approx(30.0, rel=0.1)


# ---- Step sizes ----------------------------------------------------------------------------------


def optimizer_with(lr: float | Tensor, cls: type = torch.optim.SGD) -> torch.optim.Optimizer:
    optimizer = cls(parameters((4,), (3,)), lr=lr)
    give(optimizer.param_groups[0]["params"], torch.arange(1.0, 8.0))
    return optimizer


NORM = math.sqrt(140)  # of 1, ..., 7


@pytest.mark.parametrize(
    ("step_size", "c", "bound"),
    [("eigenvalue", 1.0, 1 / NORM), ("eigenvalue", 2.0, 2 / NORM), ("projection", 1.0, 0.0)],
)
@pytest.mark.parametrize("lr", [10.0, 1e-4, torch.tensor(10.0)], ids=str)
def test_the_rate_is_bounded_for_the_step_alone(
    lr: float | Tensor, step_size: str, c: float, bound: float
) -> None:
    optimizer = optimizer_with(lr if isinstance(lr, float) else lr.clone())
    group = optimizer.param_groups[0]
    given = group["lr"]
    TopEigenpair(group["params"], 5).attach(optimizer, step_size, c=c)
    optimizer.step()
    moved = torch.cat([p.detach() for p in group["params"]]) / -torch.arange(1.0, 8.0)
    assert moved == pytest.approx(np.full(7, min(float(lr), bound)), rel=1e-5, abs=1e-6)
    assert group["lr"] is given
    assert float(given) == float(lr)


def test_a_function_of_ones_own_and_groups_that_nobody_watches() -> None:
    optimizer = optimizer_with(10.0)
    (unwatched,) = parameters((2,))
    unwatched.grad = torch.ones(2)
    optimizer.add_param_group({"params": [unwatched], "lr": 10.0})
    pair = TopEigenpair(optimizer.param_groups[0]["params"], 5)
    seen: list[GradientWindow] = []
    handle = pair.attach(optimizer, lambda part: seen.append(part) or 0.5)
    optimizer.step()
    assert seen == pair.parts
    assert unwatched.tolist() == [-10.0, -10.0]
    assert optimizer.param_groups[0]["params"][0].tolist() == [-0.5, -1.0, -1.5, -2.0]
    handle.remove()
    optimizer.step()
    assert len(seen) == pair.parts[0].steps == 1
    assert optimizer.param_groups[0]["params"][0][0] == -10.5


def test_each_group_goes_by_its_own_part() -> None:
    first, second = parameters((2,), (2,))
    first.grad, second.grad = torch.tensor([3.0, 4.0]), torch.tensor([6.0, 8.0])
    groups = [{"params": [first]}, {"params": [second]}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    TopEigenpair(optimizer.param_groups, per="group").attach(optimizer, "eigenvalue")
    optimizer.step()
    assert first.tolist() == pytest.approx([-3 / 5, -4 / 5])
    assert second.tolist() == pytest.approx([-6 / 10, -8 / 10])


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam, OrthogonalSGD])
def test_schedulers_see_their_own_rate(cls: type) -> None:
    optimizer = optimizer_with(8.0, cls)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    TopEigenpair(optimizer.param_groups[0]["params"], 5).attach(optimizer, "eigenvalue")
    for rate in (8.0, 4.0, 2.0):
        assert optimizer.param_groups[0]["lr"] == rate
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == rate
        scheduler.step()


def test_a_step_that_raises_leaves_the_rate_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = optimizer_with(8.0)
    group = optimizer.param_groups[0]
    TopEigenpair(group["params"], 5).attach(optimizer, "eigenvalue")
    good = group["params"]
    group["params"] = [*good, "no tensor"]
    with pytest.raises(AttributeError):
        optimizer.step()
    group["params"] = good
    optimizer.step()
    assert group["lr"] == 8.0


def test_scaled_gradients_are_refused() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    pair = TopEigenpair(model.parameters(), 5)
    pair.attach(optimizer)
    for unscaled in (True, False):
        scaler = GradScaler(device="cpu", init_scale=1024.0)
        scaler.scale(model(torch.ones(1, 3)).sum()).backward()
        if unscaled:
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
        else:
            with pytest.raises(RuntimeError, match="gradients must come unscaled"):
                scaler.step(optimizer)
        optimizer.zero_grad()
    assert pair.eigenvalue == pytest.approx(math.sqrt(8))


@pytest.mark.parametrize("controlled", [False, True])
def test_a_rate_of_ten_diverges_and_a_bounded_one_trains(controlled: bool) -> None:
    """BasicCNN on scikit-learn's digits, window 250: the thesis's figure 4.20, in small."""
    digits = data.load()
    torch.manual_seed(0)
    model = BasicCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    if controlled:
        TopEigenpair(model.parameters(), 250).attach(optimizer, "eigenvalue")
    losses = []
    batches = itertools.cycle(torch.randperm(len(digits.train_y)).view(10, 128))
    for batch in itertools.islice(batches, 112):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(digits.train_x[batch]), digits.train_y[batch])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    last = float(np.mean(losses[-10:]))
    if controlled:
        assert last < 0.1
    else:
        # Batch normalization brings it back to where nothing is learnt: no better than guessing.
        assert not max(losses) < 1e3
        assert not last < math.log(10)


# ---- Words ---------------------------------------------------------------------------------------


def test_what_is_refused() -> None:
    p = parameters((2,))[0]
    refused = [
        (lambda: TopEigenpair([p], per="layer"), "per must be one of 'model', 'group', 'tensor'"),
        (lambda: TopEigenpair([p], 0), "window must be >= 1, got 0"),
        (lambda: TopEigenpair([]), "params must hold a tensor that requires grad, got none"),
        (lambda: TopEigenpair([p, p]), "params must be distinct, got one of them twice"),
        (lambda: TopEigenpair([p]).attach(optimizer_with(1.0), "newton"), "step_size must be None"),
        (lambda: TopEigenpair([p]).attach(optimizer_with(1.0), "eigenvalue", c=0), "c must be fin"),
    ]
    for call, words in refused:
        with pytest.raises(ValueError, match=f"^TopEigenpair: {words}"):
            call()
    with pytest.raises(TypeError, match=r"^TopEigenpair: params must be tensors or groups"):
        TopEigenpair([p, {"params": [p]}])
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(TypeError, match=r"^TopEigenpair: gradients must be dense"):
        TopEigenpair(embedding.parameters()).update()
