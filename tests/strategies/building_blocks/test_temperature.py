"""A temperature is given, or learned by its logarithm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coldstart_cli.strategies.building_blocks.temperature import (
    keep_temperature,
    log_temperature,
    temperature_in,
)


def test_given_temperature_is_a_number_that_no_state_holds() -> None:
    assert log_temperature({"temperature": 0.5, "learn_temperature": False}) is None
    module = nn.Module()
    keep_temperature(module, temperature_in({}, 0.5))
    assert module.temperature == 0.5 and not module.state_dict()


def test_learned_temperature_starts_where_it_is_given_and_is_stored() -> None:
    parameter = log_temperature({"temperature": 0.5, "learn_temperature": True})
    assert parameter is not None
    with torch.no_grad():
        temperature = temperature_in({"log_temperature": parameter}, 7.0)
    assert torch.as_tensor(temperature).item() == pytest.approx(0.5)
    module = nn.Module()
    keep_temperature(module, torch.as_tensor(temperature))
    assert list(module.state_dict()) == ["temperature"]
