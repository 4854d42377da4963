"""Networks, and predictors that share what was not adapted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import vmap

from coldstart_cli.models.conv import Conv4
from coldstart_cli.models.mlp import MLP
from coldstart_cli.models.network import Network, Predictor, blank_head, linear_head, tree_of


def sinusoid_network() -> Network:
    torch.manual_seed(0)
    encoder = MLP((1,), hidden=[8, 6], activation="tanh")
    return Network(encoder, linear_head(encoder.feature_dim, 2))


def shifted(network: Network) -> dict[str, Tensor]:
    return {name: w.detach() + 0.1 for name, w in network.named_parameters()}


def test_network_is_its_head_on_its_encoder() -> None:
    network, inputs = sinusoid_network(), torch.randn(5, 1)
    features = network.encoder(inputs)
    assert features.shape == (5, 6)
    torch.testing.assert_close(network(inputs), features @ network.head.weight.T + network.head.bias)


def test_network_outputs_take_the_weights_given_and_else_its_own() -> None:
    network, inputs = sinusoid_network(), torch.randn(5, 1)
    weights = shifted(network)
    torch.testing.assert_close(network.outputs({}, inputs), network(inputs))
    expected = Predictor(network, weights)(inputs)
    torch.testing.assert_close(network.outputs(weights, inputs), expected)
    features = network.features(weights, inputs)
    torch.testing.assert_close(network.from_features(weights, features), expected)


def test_network_outputs_can_be_lifted_by_vmap() -> None:
    network, inputs = sinusoid_network(), torch.randn(3, 5, 1)
    stacked = {n: torch.stack([w, 2 * w, 3 * w]) for n, w in shifted(network).items()}
    together = vmap(network.outputs)(stacked, inputs)
    for i in range(3):
        one = network.outputs({n: w[i] for n, w in stacked.items()}, inputs[i])
        torch.testing.assert_close(together[i], one)


def test_predictor_leaves_the_network_as_it_is() -> None:
    network, inputs = sinusoid_network(), torch.randn(5, 1)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    outputs = network(inputs)
    predictor = Predictor(network, shifted(network))
    with torch.no_grad():
        assert not torch.allclose(predictor(inputs), outputs)
    assert network.training and not predictor.training
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_predictor_shares_what_was_not_adapted_and_detaches_the_rest() -> None:
    network = sinusoid_network()
    adapted = network.head.weight * 2
    predictor = Predictor(network, {"head.weight": adapted})
    tensors = dict(predictor.network.named_parameters())
    assert tensors["encoder.layers.0.weight"] is network.get_parameter("encoder.layers.0.weight")
    assert not tensors["head.weight"].requires_grad
    assert tensors["head.weight"].data_ptr() == adapted.data_ptr()
    n_parameters = sum(w.numel() for w in network.parameters())
    assert sum(w.numel() for w in predictor.parameters()) == n_parameters


def test_predictor_does_not_move_running_statistics() -> None:
    encoder = Conv4((1, 16, 16), hidden=4, norm="batch", groups=1, downsample="pool")
    network = Network(encoder, linear_head(encoder.feature_dim, 2))
    before = {name: t.clone() for name, t in network.state_dict().items()}
    buffer = torch.ones(4)
    predictor = Predictor(network, {"encoder.norms.0.running_mean": buffer})
    predictor.train()
    predictor.eval()(torch.randn(3, 1, 16, 16))
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert "network.encoder.norms.0.running_mean" in dict(predictor.named_buffers())


def test_predictor_can_be_exported() -> None:
    network, inputs = sinusoid_network(), torch.randn(5, 1)
    predictor = Predictor(network, shifted(network))
    exported = torch.export.export(predictor, (inputs,))
    torch.testing.assert_close(exported.module()(inputs), predictor(inputs))


def test_tree_is_its_own_around_the_same_tensors() -> None:
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    odd = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    odd.first = [odd[0]]  # type: ignore[assignment]
    shared = nn.Linear(3, 3)
    twice = nn.Sequential(shared, shared)
    hooked = nn.Sequential(nn.Linear(3, 2))
    hooked.register_forward_hook(lambda *_: None)
    for network in (plain, odd, twice, hooked):
        tree = tree_of(network)
        assert all(a is b for a, b in zip(tree.parameters(), network.parameters(), strict=True))
        assert not {id(m) for m in tree.modules()} & {id(m) for m in network.modules()}
        assert len(list(tree.modules())) == len(list(network.modules()))
        inputs = torch.ones(2, 3)
        assert torch.equal(tree(inputs), network(inputs))
        tree.eval()
        first = next(tree.children())
        assert isinstance(first, nn.Linear) and network.training
        first.weight = nn.Parameter(torch.zeros_like(first.weight))
        assert next(network.parameters()).abs().sum() > 0
    copied = tree_of(odd)
    assert isinstance(copied, nn.Sequential) and copied.first[0] is copied[0]  # type: ignore[index]
    both = tree_of(twice)
    assert isinstance(both, nn.Sequential) and both[0] is both[1]


def test_blank_head_is_a_linear_layer_that_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    head, known = blank_head(3, 2), linear_head(3, 2)
    assert torch.equal(torch.get_rng_state(), before) is False  # by the other one
    torch.set_rng_state(before)
    blank_head(3, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert vars(head).keys() == vars(known).keys()
    assert repr(head) == repr(known)
    assert {n: w.shape for n, w in head.state_dict().items()} == {
        n: w.shape for n, w in known.state_dict().items()
    }
