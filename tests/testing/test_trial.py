"""A strategy on trial: built anew as often as a law asks, with the values that it asks for."""

from __future__ import annotations

import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.testing.trial import Trial, replaced, torch_as_it_was


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial("guarded")


def test_every_experiment_begins_with_the_same_weights(trial: Trial, torch_settings: None) -> None:
    one, other = (trial.experiment().strategy for _ in range(2))
    assert one is not other
    states = one.state_dict(), other.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_values_are_changed_wherever_a_nested_strategy_has_the_key(
    trial: Trial, torch_settings: None
) -> None:
    before = trial.value("transfer.lr")
    made = trial.experiment(strategy={"lr": 0.5, "no_such_key": 1}, training={"steps": 7})
    assert made.config["strategy"]["transfer"]["lr"] == 0.5 and made.training.steps == 7
    assert "no_such_key" not in made.config["strategy"] and trial.value("transfer.lr") == before != 0.5
    assert trial.value("no_such_key") is None


def test_a_regression_and_another_optimizer_leave_the_strategy_as_it_is(
    trial: Trial, torch_settings: None
) -> None:
    regression = trial.experiment(regression=True)
    assert regression.source.shape.n_way is None
    assert regression.config["strategy"] == trial.experiment().config["strategy"]
    other = trial.experiment(optimizer_name="sgd").config["optimizer"]
    assert other["_target_"].endswith(".SGD") and "momentum" in other


def test_facts_are_those_that_a_constructor_names() -> None:
    assert {"encoder", "vectorize"} <= Trial("maml").facts
    assert "vectorize" not in Trial("finetune").facts


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^no/such\.yaml: there is no such file; name a YAML file"):
        Trial("no/such.yaml")


def test_replaced_leaves_other_keys_and_the_original_alone() -> None:
    node = {"lr": 1, "inner": {"lr": 2, "steps": 3}}
    assert replaced(node, {"lr": 9}) == {"lr": 9, "inner": {"lr": 9, "steps": 3}}
    assert node == {"lr": 1, "inner": {"lr": 2, "steps": 3}}


@pytest.mark.parametrize("deterministic", [False, True])
def test_torch_is_given_back(deterministic: bool, torch_settings: None) -> None:
    torch.use_deterministic_algorithms(deterministic)
    before = torch.get_num_threads(), torch.get_rng_state()
    with torch_as_it_was():
        torch.set_num_threads(before[0] + 1)
        torch.use_deterministic_algorithms(not deterministic)
        torch.rand(1)
    assert torch.get_num_threads() == before[0] and torch.equal(torch.get_rng_state(), before[1])
    assert torch.are_deterministic_algorithms_enabled() == deterministic
