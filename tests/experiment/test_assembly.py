"""What is refused before any training, by the key that says it, and what a baseline is searched over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coldstart_cli.errors import RequestError, Unserved
from coldstart_cli.experiment.assembly import Experiment, check_parts, check_values, variants

Make = Callable[..., Experiment]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"stratgy": {}}, "stratgy: there is no such key; did you mean strategy?"),
        ({"seed": -1}, "seed: -1 is out of range; give a value at least 0"),
        ({"model": None}, "model: nothing is chosen; see coldstart ls model"),
        ({"logger": []}, "logger: is not a mapping of names to loggers; write logger=[console] or logger=[]"),
        ({"names": {"strategy": "maml"}}, "names: lacks strategy, model, dataset or baseline"),
        ({"hardware": {"_target_": "os.system"}}, "hardware._target_: 'os.system' is not"),
    ],
)
def test_a_config_is_refused_by_its_key(sines: dict[str, Any], change: dict[str, Any], line: str) -> None:
    check_values(sines)
    with pytest.raises(RequestError) as caught:
        check_values({**sines, **change})
    assert str(caught.value).startswith(line)


def test_a_value_that_is_missing_is_named(sines: dict[str, Any]) -> None:
    del sines["again"]
    with pytest.raises(RequestError, match=r"^again: is missing; write again=VALUE$"):
        check_values(sines)


def test_an_experiment_has_its_parts_and_the_facts_of_its_source(small_experiment: Make) -> None:
    made = small_experiment()
    assert (made.training.steps, made.evaluation.n_tasks, made.facts["n_way"]) == (2, 2, None)
    assert made.contestants.keys() == {"strategy"} and not made.left_out
    assert made.source.shape.k_shot == made.config["dataset"]["k_shot"]


def test_a_baseline_that_learns_from_the_source_is_refused(small_experiment: Make) -> None:
    maml = small_experiment().config["strategy"]
    with pytest.raises(RequestError, match=r"^baseline: it learns from the source, which a baseline must"):
        small_experiment(baseline=dict(maml))


def test_bf16_is_refused_through_gradients(small_experiment: Make) -> None:
    with pytest.raises(RequestError, match=r"^hardware\.precision: bf16 makes a gradient through inner"):
        small_experiment(hardware={"precision": "bf16"})
    small_experiment(hardware={"precision": "bf16"}, strategy={"second_order": False})


def test_a_task_that_the_strategy_cannot_serve_is_a_result_of_its_own(small_experiment: Make) -> None:
    with pytest.raises(Unserved, match=r"^strategy: it learns from labels and k_shot is 0; give labels"):
        small_experiment(evaluation={"k_shots": [0]})


def test_a_batch_is_as_large_as_the_processes_that_share_it() -> None:
    node = {"transfer": {"batch_size": 4}, "meta_batch_size": 8}
    check_parts(node, "strategy", 4)
    with pytest.raises(RequestError, match=r"^strategy\.transfer\.batch_size: 4 cannot be shared among 5"):
        check_parts(node, "strategy", 5)


def test_variants_of_a_baseline_are_all_combinations_by_name() -> None:
    found = variants({"lr": 1, "steps": 5, "rule": "sgd"}, {"steps": [10, 20], "lr": [0.1, 0.05]})
    assert list(found) == ["lr=0.1,steps=10", "lr=0.1,steps=20", "lr=0.05,steps=10", "lr=0.05,steps=20"]
    assert found["lr=0.05,steps=20"] == {"lr": 0.05, "steps": 20, "rule": "sgd"}
    assert variants({"lr": 1}, {}) == {"": {"lr": 1}}


def test_augmentation_of_inputs_that_are_no_images_is_refused(small_experiment: Make) -> None:
    augment = {**small_experiment().config["training"]["augment"], "shift": 0.1}
    with pytest.raises(RequestError, match=r"^training\.augment: it moves images and .*; leave it at 0"):
        small_experiment(training={"augment": augment})
