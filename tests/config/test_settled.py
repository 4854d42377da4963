from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from coldstart_cli.config.settled import settled
from coldstart_cli.errors import RequestError

CHOICES = {"strategy": "maml", "model": "mlp", "dataset": "sinusoid"}
PLAIN: dict[str, Any] = {
    "strategy": {"inner_steps": 5},
    "training": {"steps": 1, "validation": {"adaptation_steps": None}, "augment": {}},
    "evaluation": {"steps": [0, 1, 10]},
    "sweep": {"n_jobs": None},
}


def test_names_say_what_was_chosen() -> None:
    assert settled(deepcopy(PLAIN), CHOICES)["names"] == {**CHOICES, "baseline": None}
    with_baseline = settled(deepcopy(PLAIN), {**CHOICES, "strategy@baseline": "scratch"})
    assert with_baseline["names"]["baseline"] == "scratch"


@pytest.mark.parametrize(("own", "steps"), [({"inner_steps": 5}, 5), ({}, 10)])
def test_a_trial_adapts_as_the_strategy_does(own: dict[str, int], steps: int) -> None:
    config = settled({**deepcopy(PLAIN), "strategy": own}, CHOICES)
    assert config["training"]["validation"]["adaptation_steps"] == steps


@pytest.mark.parametrize("key", ["sweep", "training", "training.augment", "training.validation"])
def test_a_value_in_place_of_a_node_is_refused(key: str) -> None:
    config = deepcopy(PLAIN)
    parent, _, name = key.rpartition(".")
    (config[parent] if parent else config)[name] = 1
    with pytest.raises(RequestError, match=rf"^{key}: 1 takes the place of several keys; write {key}\.KEY"):
        settled(config, CHOICES)


def test_a_group_without_a_choice_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^model: nothing is chosen"):
        settled(deepcopy(PLAIN), {"strategy": "maml", "dataset": "sinusoid"})
