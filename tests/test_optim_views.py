"""Views: transposed convolutions in groups, heads of any layer, and which name gets which view."""

from __future__ import annotations

import optim_cases as cases
import pytest
import torch
from torch import nn

import ortho_kernels as ok
from ortho_optim import OrthogonalSGD, transposed

EXACT = 1e-9  # what the factor of a well-conditioned float64 matrix may be off by


def stepped(module: nn.Module, **options: object) -> OrthogonalSGD:
    optimizer = OrthogonalSGD(module, lr=1.0, **options)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transposed_convolutions_by_a_permutation_written_out(kind, groups):
    """W[i, o, k] of group a goes to row o, column (i, k) of matrix a, entry by entry."""
    module = kind(8, 12, 2, groups=groups, bias=False, dtype=torch.float64)
    inward, outward = 8 // groups, 12 // groups
    module.weight.grad = grad = cases.planted(tuple(module.weight.shape), 1).clone()
    size = grad[0, 0].numel()
    before, want = module.weight.detach().clone(), torch.empty_like(grad).flatten(2)
    for a in range(groups):
        matrix = torch.empty(outward, inward * size, dtype=torch.float64)
        for i in range(inward):
            for o in range(outward):
                entries = grad[a * inward + i, o].flatten()
                matrix[o, i * size : (i + 1) * size] = entries
        factor = cases.polar_by_hand(matrix)
        eye = torch.eye(outward, dtype=torch.float64)
        if outward <= inward * size:
            torch.testing.assert_close(factor @ factor.T, eye, rtol=0, atol=EXACT)
        for i in range(inward):
            for o in range(outward):
                want[a * inward + i, o] = factor[o, i * size : (i + 1) * size]
    stepped(module, view=transposed(groups))
    got = before - module.weight.detach()
    torch.testing.assert_close(got, want.reshape(grad.shape), rtol=0, atol=EXACT)


def test_a_transposed_convolution_moves_as_the_convolution_it_is():
    """With swapped channels and flipped taps the two are one map, so their steps are one, too."""
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(6, 4, 3, groups=2, bias=False, dtype=torch.float64)
    conv = nn.Conv2d(6, 4, 3, groups=2, padding=2, bias=False, dtype=torch.float64)

    def as_conv(weight):  # (in, out / 2, k, k) to (out, in / 2, k, k)
        return torch.cat([half.transpose(0, 1) for half in weight.chunk(2)]).flip(2, 3)

    conv.weight.data = as_conv(up.weight.detach()).contiguous()
    x = torch.randn(16, 6, 5, 5, dtype=torch.float64)
    target = torch.randn(16, 4, 7, 7, dtype=torch.float64)
    for module in (up, conv):
        (module(x) - target).square().mean().backward()
    stepped(up, view=transposed(2))
    per_group = ok.heads(2)  # a group's filters are a block of rows
    stepped(conv, view=per_group)
    torch.testing.assert_close(
        as_conv(up.weight.detach()), conv.weight.detach(), rtol=0, atol=EXACT
    )


def test_transposed_in_half_precision_and_a_foreign_memory_order():
    module = nn.ConvTranspose2d(4, 6, 3, bias=False, dtype=torch.bfloat16)
    module.to(memory_format=torch.channels_last)
    grad = cases.planted((4, 6, 3, 3), 2, torch.bfloat16)
    module.weight.grad = grad.to(memory_format=torch.channels_last)
    module.weight.data.zero_()
    stepped(module, view=transposed())
    assert module.weight.is_contiguous(memory_format=torch.channels_last)
    matrix = grad.double().transpose(0, 1).flatten(1)
    want = cases.polar_by_hand(matrix).reshape(6, 4, 3, 3).transpose(0, 1)
    eps = torch.finfo(torch.bfloat16).eps
    torch.testing.assert_close(-module.weight.detach().double(), want, rtol=eps, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_heads_of_a_fused_projection_and_of_a_convolution(n):
    for module in (nn.Linear(5, 12, bias=False), nn.Conv2d(3, 6, 3, bias=False)):
        module.to(torch.float64)
        grad = cases.planted(tuple(module.weight.shape), n)
        module.weight.grad, before = grad.clone(), module.weight.detach().clone()
        stepped(module, view=ok.heads(n))
        want = torch.cat([cases.polar_by_hand(block) for block in grad.chunk(n)])
        torch.testing.assert_close(before - module.weight.detach(), want, rtol=0, atol=EXACT)


class Block(nn.Module):
    """A fused QKV projection, its output, and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        kind = {"bias": False, "dtype": torch.float64}
        self.qkv = nn.Linear(6, 12, **kind)
        self.out = nn.Linear(4, 6, **kind)
        self.up = nn.ConvTranspose1d(4, 6, 2, groups=2, **kind)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def set_gradients(self) -> None:
        for i, p in enumerate(self.parameters()):
            p.grad = cases.planted(tuple(p.shape), i).clone()


def moves(**options: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = Model()
    before = cases.weights(model)
    model.set_gradients()
    stepped(model, **options)
    return {name: before[name] - after for name, after in cases.weights(model).items()}


def test_views_by_name_module_glob_and_predicate():
    plain, heads, up = (moves(view=v) for v in ("flatten", ok.heads(2), transposed(2)))
    for name, move in moves(
        view={
            "blocks.0.qkv.weight": ok.heads(2),  # a parameter
            "blocks.?.up": transposed(2),  # a module, by glob
            lambda name, p: name == "blocks.1.out.weight": ok.heads(2),
            "blocks.1": "flatten",  # later, so for what is left of it
        }
    ).items():
        kind = plain
        if name in ("blocks.0.qkv.weight", "blocks.1.out.weight"):
            kind = heads
        elif name.endswith("up.weight"):
            kind = up
        assert torch.equal(move, kind[name]), name
        assert (kind is plain) == torch.equal(move, plain[name]), name


def test_the_first_view_that_matches_counts():
    plain, heads = moves(view="flatten"), moves(view=ok.heads(2))
    for order, want in ((("*qkv*", "*"), heads), (("*", "*qkv*"), plain)):
        views = {"*qkv*": ok.heads(2), "*": "flatten"}
        got = moves(view={key: views[key] for key in order}, include="*qkv*")
        assert torch.equal(got["blocks.0.qkv.weight"], want["blocks.0.qkv.weight"])


def test_views_by_name_for_named_parameters_and_later_groups():
    model = Model()
    model.set_gradients()
    named = list(model.named_parameters())
    optimizer = OrthogonalSGD(named[:3], lr=1.0, view={"*qkv*": ok.heads(2)})
    optimizer.add_param_group({"params": named[3:]})
    before = cases.weights(model)
    optimizer.step()
    for i in (0, 1):
        name = f"blocks.{i}.qkv.weight"
        grad = model.blocks[i].qkv.weight.grad
        want = torch.cat([cases.polar_by_hand(block) for block in grad.chunk(2)])
        moved = before[name] - model.blocks[i].qkv.weight.detach()
        torch.testing.assert_close(moved, want, rtol=0, atol=EXACT)


def test_views_that_do_not_fit_are_told_when_the_optimizer_is_made():
    for groups in (0, True, 1.5):
        with pytest.raises(ValueError, match="transposed: groups must be an int >= 1, got"):
            transposed(groups)
    model = Model()
    for view, error, words in (
        (transposed(3), ValueError, r"blocks\.0\.up\.weight must have a first dimension divisible"),
        ({"*.out": ok.heads(4)}, ValueError, "divisible by the 4 blocks of its view, got shape"),
        ({"*.up": transposed(3)}, ValueError, "divisible by the 3 blocks of its view, got shape"),
        ({"*.nothing": "batch"}, ValueError, r"got '\*\.nothing'; the weights are: blocks\.0\.qkv"),
        ({1: "batch"}, TypeError, "view must be by names .* or predicates .* got 1"),
        ({"*": "rows"}, ValueError, "view must be 'flatten', 'batch', heads"),
    ):
        with pytest.raises(error, match=words):
            OrthogonalSGD(model, lr=1.0, view=view)
    with pytest.raises(ValueError, match="view by name need names"):
        OrthogonalSGD(model.parameters(), lr=1.0, view={"*.up": transposed(2)})
