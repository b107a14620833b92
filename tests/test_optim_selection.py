"""Which weights are orthogonalised."""

from __future__ import annotations

import copy

import optim_cases as cases
import pytest
import torch
from torch import nn

from ortho_optim import OrthogonalSGD, orthogonalize


def chosen(model=None, params=None, **options):
    if params is None:
        return OrthogonalSGD(model, lr=0.1, **options).orthogonalized
    return OrthogonalSGD(params, lr=0.1, model=model, **options).orthogonalized


def test_by_module_type_when_given_a_model():
    net = cases.make_net()
    assert chosen(net) == cases.LAYERS
    assert chosen(net, net.parameters()) == cases.LAYERS
    assert chosen(net, net.named_parameters()) == cases.LAYERS
    assert chosen(net, layers="conv") == cases.LAYERS[:3]
    assert chosen(net, layers="linear") == ["head.weight"]
    assert chosen(net, layers="any") == cases.MATRICES
    assert chosen(net, layers=nn.Embedding) == ["embedding.weight"]
    assert chosen(net, layers=(nn.Conv2d, nn.Linear)) == [
        "conv.weight",
        "grouped.weight",
        "head.weight",
    ]


def test_by_dimensions_when_given_parameters():
    net = cases.make_net()
    assert chosen(params=net.named_parameters()) == cases.MATRICES
    assert chosen(params=net.named_parameters(), layers="conv") == cases.LAYERS[:3]
    linear = ["mix", "embedding.weight", "head.weight"]
    assert chosen(params=net.named_parameters(), layers="linear") == linear
    assert len(chosen(params=net.parameters())) == len(cases.MATRICES)
    assert chosen(params=[{"params": list(net.conv.parameters())}]) == ["param_groups[0][0]"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"exclude": "head"}, ["conv.weight", "grouped.weight", "up.weight"]),
        ({"exclude": ["up*", "head.weight"]}, ["conv.weight", "grouped.weight"]),
        ({"include": "head"}, ["head.weight"]),
        ({"include": ["conv", "head"], "exclude": "conv"}, ["head.weight"]),
        ({"include": lambda name, p: p.ndim == 2}, ["head.weight"]),
        ({"exclude": ["head", lambda name, p: p.shape[-1] == 3]}, ["up.weight"]),
        ({"layers": "any", "include": "embedding"}, ["embedding.weight"]),
        ({"exclude": ["*.bias", "norm"]}, cases.LAYERS),
    ],
)
def test_include_narrows_and_exclude_takes_away(options, names):
    net = cases.make_net()
    want = [n for n in cases.MATRICES if n in names]
    assert chosen(net, **options) == want
    instance = torch.optim.SGD(net.parameters(), lr=0.1)
    assert orthogonalize(instance, model=net, **options).orthogonalized == want


def test_encoder_only():
    model = nn.ModuleDict({name: nn.Sequential(nn.Linear(3, 3)) for name in ("encoder", "decoder")})
    assert chosen(model, include="encoder") == ["encoder.0.weight"]


def test_attention_projections_are_linear_and_recurrent_ones_need_asking():
    attention = nn.MultiheadAttention(4, 2)
    assert chosen(attention) == ["in_proj_weight", "out_proj.weight"]
    model = nn.ModuleDict({"lstm": nn.LSTM(3, 4), "out": nn.Linear(4, 2)})
    assert chosen(model) == ["out.weight"]
    assert chosen(model, layers=nn.LSTM) == ["lstm.weight_ih_l0", "lstm.weight_hh_l0"]


def test_a_head_tied_to_an_embedding_is_an_embedding():
    model = nn.ModuleDict({"body": nn.Linear(4, 4), "head": nn.Linear(4, 9, bias=False)})
    model["tokens"] = nn.Embedding(9, 4)
    model["tokens"].weight = model["head"].weight
    assert chosen(model) == ["body.weight"]
    assert chosen(model, layers="any") == ["body.weight", "head.weight"]


def test_a_groups_own_word_overrides():
    net = cases.make_net()
    groups = [
        {"params": [net.conv.weight], "orthogonalize": False},
        {"params": [net.embedding.weight, net.norm.weight], "orthogonalize": True},
        {"params": [net.head.weight]},
    ]
    assert chosen(net, groups) == ["embedding.weight", "head.weight"]


def test_mistakes_are_told():
    net = cases.make_net()
    with pytest.raises(ValueError, match=r"got 'heads'; the weights are: mix, conv\.weight"):
        chosen(net, exclude="heads")
    instance = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="got 'heads'"):
        orthogonalize(instance, model=net, exclude="heads")
    assert type(instance) is torch.optim.SGD
    with pytest.raises(ValueError, match=r"weights that layers='all' lets in.*got 'embedding'"):
        chosen(net, include="embedding")
    with pytest.raises(ValueError, match="include, exclude and view by name need names"):
        chosen(params=net.parameters(), exclude="head")
    with pytest.raises(ValueError, match="layers must be one of 'all', 'conv', 'linear', 'any'"):
        chosen(net, layers="convs")
    with pytest.raises(ValueError, match="layers must be one of"):
        chosen(net, layers=int)
    with pytest.raises(ValueError, match="module types needs model="):
        chosen(params=net.parameters(), layers=nn.Linear)
    with pytest.raises(TypeError, match=r"exclude must be names .* got 3"):
        chosen(net, exclude=[3])
    with pytest.raises(ValueError, match="model must be given once"):
        OrthogonalSGD(net, lr=0.1, model=cases.make_net())
    with pytest.warns(UserWarning, match="no parameter is selected"):
        chosen(net, exclude=lambda name, p: True)


def test_parameters_that_a_model_does_not_have():
    net = cases.make_net()
    optimizer = OrthogonalSGD(net, lr=0.1)
    loose = nn.Parameter(torch.zeros(3, 3))
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
    with pytest.raises(ValueError, match=r"param_groups\[2\]\[0\] must be decided by 'orthog"):
        optimizer.add_param_group({"params": [loose]})
    optimizer.add_param_group({"params": [loose], "orthogonalize": True})
    net.extra = nn.Linear(2, 2)  # the model has grown
    optimizer.add_param_group({"params": net.extra.parameters()})
    assert optimizer.orthogonalized == [*cases.LAYERS, "param_groups[2][0]", "extra.weight"]


def test_a_copy_keeps_what_was_decided_and_asks_about_the_rest():
    net = cases.make_net()
    for options in ({}, {"exclude": lambda name, p: name == "head.weight"}):
        optimizer = OrthogonalSGD(net, lr=0.1, **options)
        twin = copy.deepcopy(optimizer)
        assert twin.orthogonalized == optimizer.orthogonalized
        with pytest.raises(ValueError, match="because it came to a copy"):
            twin.add_param_group({"params": [torch.zeros(2, 2)]})
        twin.add_param_group({"params": [torch.zeros(2, 2)], "orthogonalize": True})
    by_shape = copy.deepcopy(OrthogonalSGD(net.parameters(), lr=0.1))
    by_shape.add_param_group({"params": [torch.zeros(2, 2)]})
    assert len(by_shape.orthogonalized) == len(cases.MATRICES) + 1


def test_the_selection_shows():
    assert "Orthogonalized (4): conv.weight, grouped.weight" in repr(
        OrthogonalSGD(cases.make_net(), lr=0.1)
    )
