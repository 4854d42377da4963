"""Every configuration file: it composes, it says what it is, and it holds what the signatures name."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NotRequired, Required, get_origin

import pytest

from coldstart_cli.cli import main
from coldstart_cli.config import composition
from coldstart_cli.config.building import parameters_of
from tests.kit.places import CONF

FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))
CHOICES = [name for name in FILES if "/" in name]
LAUNCHERS = [name for name in CHOICES if name.startswith("hydra/")]
SEARCHES = [name for name in CHOICES if name.startswith(("search/", "candidates/"))]  # read by a command
PARTS = [name for name in CHOICES if name not in {*LAUNCHERS, *SEARCHES}]
EXPERIMENTS = [name for name in CHOICES if name.startswith("experiment/")]


def override(name: str) -> str:
    """`model/mlp` -> `model=mlp`; `experiment/paper/x` -> `experiment=paper/x`."""
    group, _, choice = name.partition("/")
    # A prompt is a part of a model that reads one.
    return f"prompt@model.prompt={choice}" if group == "prompt" else f"{group}={choice}"


@cache
def composed(*overrides: str) -> dict[str, Any]:
    """To be read, not changed: several tests look at the same composition."""
    reads_a_prompt = any(word.startswith("prompt@") for word in overrides)
    ((_, config),) = composition.points([*(["model=causal_lm"] if reads_a_prompt else []), *overrides])
    return config


def calls(node: object, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(key, mapping) of everything below `node` that has a `_target_`."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from calls(value, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from calls(value, f"{key}[{i}]")


def located(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def test_conf_files_are_those_that_ls_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    names = [f"{group}/{entry['name']}" for group, entries in listed.items() for entry in entries]
    assert sorted(names) == CHOICES
    assert (
        len(CHOICES) == len(list(CONF.rglob("*.yaml"))) - 6 > 20
    )  # what commands compose is not a valid choice
    assert set(FILES) - set(CHOICES) == {"train", "adapt", "choose", "label_next", "serve", "tune"}


@pytest.mark.parametrize("name", FILES)
def test_conf_begins_with_a_sentence(name: str) -> None:
    lines = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    first = next(line for line in lines if not line.startswith("# @package"))
    assert first.startswith("# ")
    assert len(first.split()) >= 3


@pytest.mark.parametrize("name", LAUNCHERS)
def test_conf_of_a_launcher_leaves_the_run_as_it_is(name: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra slurm is not installed")
    group, _, choice = name.rpartition("/")
    assert composed(f"{group}={choice}") == composed()


@pytest.mark.parametrize("name", PARTS)
def test_conf_composes_and_equals_the_signatures(name: str) -> None:
    config = composed(override(name))
    group = name.partition("/")[0]
    found = dict(calls(config))
    assert group == "experiment" or any(group in key.split(".") for key in found)
    for key, node in found.items():
        _, values = parameters_of(located(node["_target_"]))
        assert set(node) - {"_target_"} == set(values), key


@pytest.mark.parametrize("name", [n for n in CHOICES if n.startswith("strategy/")])
def test_conf_of_every_strategy_composes_as_a_baseline(name: str) -> None:
    choice = name.partition("/")[2]
    config = composed(f"strategy@baseline={choice}")
    assert config["baseline"]["_target_"] == composed(f"strategy={choice}")["strategy"]["_target_"]
    assert config["names"]["baseline"] == choice


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_conf_of_every_experiment_takes_further_overrides(name: str) -> None:
    config = composed(override(name), "seed=7", "strategy=protonet")
    assert config["seed"] == 7
    assert config["names"]["strategy"] == "protonet" or "strategy" in (CONF / f"{name}.yaml").read_text()


def test_conf_targets_have_no_defaults_in_python() -> None:
    targets = {node["_target_"] for name in PARTS for _, node in calls(composed(override(name)))}
    assert len(targets) >= 12
    for target in sorted(targets):
        _, values = parameters_of(located(target))
        assert not {name for name, annotation in values.items() if annotation is Any}, target
        assert not {n for n, a in values.items() if get_origin(a) in (Required, NotRequired)}, target
        parameters = inspect.signature(located(target)).parameters.values()
        assert not [p for p in parameters if p.name in values and p.default is not p.empty], target


def test_conf_is_values_only_once_composed() -> None:
    for name in PARTS:
        assert "${" not in json.dumps(composed(override(name)))


def test_conf_of_guarded_nests_strategies_that_are_chosen_by_name() -> None:
    guarded = composed("strategy=guarded")["strategy"]
    assert guarded["transfer"] == composed("strategy=finetune")["strategy"]
    assert guarded["fallback"] == composed("strategy=scratch")["strategy"]
    other = composed("strategy=guarded", "strategy@strategy.transfer=leep", "strategy.transfer.lr=0.2")
    assert other["strategy"]["transfer"] == {**composed("strategy=leep")["strategy"], "lr": 0.2}
    assert other["strategy"]["fallback"] == guarded["fallback"]
    assert other["names"]["strategy"] == "guarded"
    beside = composed("strategy@baseline=guarded", "strategy@baseline.transfer=protonet")
    assert beside["baseline"]["transfer"] == composed("strategy=protonet")["strategy"]
    assert "transfer" not in beside["strategy"]
