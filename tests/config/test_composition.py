"""What knows Hydra: overrides in, resolved values out, its errors in one line."""

from __future__ import annotations

import copy
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra

from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from tests.kit.compositions import read_once, remembered
from tests.kit.places import REPOSITORY

SINES = ("dataset=sinusoid", "model=mlp")
HYDRAS, READ = inspect.unwrap(composition._composed), ConfigRepository.load_config


def composed(*overrides: str) -> dict[str, Any]:
    ((_, config),) = composition.points([*SINES, *overrides])
    return config


@pytest.fixture(autouse=True, scope="module")
def by_hydra() -> Iterator[None]:
    """Every word goes through Hydra here, which reads every file."""
    with (
        mock.patch.object(composition, "_composed", HYDRAS),
        mock.patch.object(ConfigRepository, "load_config", READ),
    ):
        yield


@pytest.fixture(scope="module")
def base(by_hydra: None) -> dict[str, Any]:
    return composed("strategy@baseline=scratch", "evaluation.confidence=0.5", "seed=3")


def changed(base: dict[str, Any], *overrides: str) -> dict[str, Any]:
    return composition.changed(base, list(overrides), [])


@pytest.mark.parametrize("flags", [[], ["--cfg", "job"]])
def test_no_command_reads_the_environment_after_a_call_from_python(flags: list[str]) -> None:
    with composition.environment_hidden():
        pass  # which gives its caller the environment back
    with pytest.raises(RequestError):
        composition.run_jobs([*SINES, "outputs=${oc.env:HOME}"], flags, lambda config: None)


def test_changed_without_overrides_is_the_run_itself(base: dict[str, Any]) -> None:
    assert changed(base) == {**base, "again": False}
    assert changed({**base, "again": True})["again"] is False


def test_changed_gives_loggers_the_keys_they_have_got_since(base: dict[str, Any]) -> None:
    console = {key: value for key, value in base["logger"]["console"].items() if key != "curve_rows"}
    older = {**base, "logger": {"console": {**console, "every_seconds": 3.0}}}
    found = changed(older)["logger"]
    assert found == {"console": {**base["logger"]["console"], "every_seconds": 3.0}}
    assert changed(older, "logger.console.curve_rows=2")["logger"]["console"]["curve_rows"] == 2
    theirs = {**base, "logger": {"their own!": {"_target_": "their_package.Logger", "key": 1}}}
    assert changed(theirs)["logger"] == theirs["logger"]
    assert changed({**base, "logger": {}})["logger"] == {}


def test_changed_group_replaces_the_whole_node(base: dict[str, Any]) -> None:
    fresh = composed("evaluation=smoke")
    assert changed(base, "evaluation=smoke")["evaluation"] == fresh["evaluation"]
    assert base["evaluation"]["confidence"] == 0.5


def test_changed_dotted_overrides_apply_after_groups(base: dict[str, Any]) -> None:
    config = changed(base, "evaluation.k_shots=[7]", "evaluation=smoke", "dataset.n_query=9")
    assert config["evaluation"]["k_shots"] == [7]
    assert config["evaluation"]["n_tasks"] == composed("evaluation=smoke")["evaluation"]["n_tasks"]
    assert config["dataset"] == {**base["dataset"], "n_query": 9}
    for key in ("strategy", "model", "training", "seed", "optimizer"):
        assert config[key] == base[key]


def test_changed_names_follow_the_groups(base: dict[str, Any]) -> None:
    config = changed(base, "dataset=glyphs", "strategy@baseline=linear_probe")
    assert config["names"] == {**base["names"], "dataset": "glyphs", "baseline": "linear_probe"}
    assert config["baseline"]["trainable"] == "head"
    assert "n_way" in config["dataset"]
    assert "amplitude" not in config["dataset"]


def test_changed_leaves_its_base_as_it_is(base: dict[str, Any]) -> None:
    before = copy.deepcopy(base)
    changed(base, "evaluation=smoke", "evaluation.steps=[0]", "dataset.k_shot=2", "hardware=cpu")
    assert base == before


def test_changed_replaces_mappings_rather_than_merging_them(base: dict[str, Any]) -> None:
    config = changed(base, "evaluation.baseline_search={momentum: [0.5]}")
    assert config["evaluation"]["baseline_search"] == {"momentum": [0.5]}


@pytest.mark.parametrize(
    "override",
    [
        "strategy=protonet", "strategy.inner_lr=1", "model=conv4", "model.hidden=[8]", "seed=1",
        "training.steps=5", "optimizer.lr=1", "outputs=elsewhere", "names.strategy=x",
    ],
)  # fmt: skip
def test_changed_refuses_what_belongs_to_the_training(base: dict[str, Any], override: str) -> None:
    with pytest.raises(RequestError, match=r": belongs to the training of this run; ") as caught:
        changed(base, override)
    assert str(caught.value).startswith(f"{override.partition('=')[0]}: ")


def test_changed_refuses_keys_that_are_not_there(base: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        changed(base, "evaluation.k_shot=[1]")
    assert str(caught.value) == (
        "evaluation.k_shot: there is no such key; did you mean evaluation.k_shots? (E20)"
    )


def test_points_expand_a_sweep_in_order() -> None:
    points = list(composition.points([*SINES, "strategy=maml,anil", "seed=range(2)", "optimizer.lr=0.5"]))
    assert [(c["names"]["strategy"], c["seed"]) for _, c in points] == [
        ("maml", 0), ("maml", 1), ("anil", 0), ("anil", 1),
    ]  # fmt: skip
    assert all(config["optimizer"]["lr"] == 0.5 for _, config in points)
    assert points[0][0] == [*SINES, "strategy=maml", "seed=0", "optimizer.lr=0.5"]


def test_points_hold_values_only() -> None:
    config = composed("optimizer.lr=${seed}", "seed=4")
    assert config["optimizer"]["lr"] == 4
    assert "hydra" not in config
    names = {"strategy": "maml", "dataset": "sinusoid", "model": "mlp"}
    assert config["names"] == {**names, "baseline": "scratch"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("strategy=mamll", "strategy: there is no 'mamll'; did you mean maml?"),
        ("strategi=maml", "strategi: there is no such key; did you mean strategy"),
        ("strategy.inner_lrr=1", "strategy.inner_lrr: there is no such key; did you mean strategy.inner_lr?"),
        ("optimizer.beta=1", "optimizer.beta: there is no such key; did you mean optimizer.beta"),
        ("a b", "a b: is not an override; write key=value"),
        ("seed=[", "seed=[: is not an override; write key=value"),
        ("model=null", "model=null: a group cannot be null; leave it out"),
        ("experiment=smok", "experiment: there is no 'smok'; did you mean smoke?"),
        ("training=1", "training: 1 takes the place of several keys; write training.KEY=VALUE"),
        ("logger=[consol]", "logger/consol: there is no such config; see coldstart ls"),
    ],
)
def test_errors_are_translated_into_one_line(override: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        composed(override)
    text = str(caught.value)
    assert text.startswith(message)
    assert "\n" not in text
    assert ";" in text


def test_hydra_is_left_as_it_was_found() -> None:
    composed()
    with pytest.raises(RequestError):
        composed("foo=1")
    assert not GlobalHydra.instance().is_initialized()


def test_jobs_run_once_for_each_point() -> None:
    seen: list[tuple[str, int]] = []
    composition.run_jobs([*SINES, "seed=5"], [], lambda c: seen.append((c["names"]["model"], c["seed"])))
    assert seen == [("mlp", 5)]


def test_job_that_fails_raises_its_own_error() -> None:
    def job(config: dict[str, Any]) -> None:
        raise RequestError("seed: is unlucky; take another")

    with pytest.raises(RequestError, match=r"^seed: is unlucky; take another$"):
        composition.run_jobs([*SINES], [], job)


def test_points_of_a_sweep_find_configs_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    shutil.copy(REPOSITORY / "conf" / "strategy" / "maml.yaml", tmp_path / "strategy" / "mine.yaml")
    overrides = [*composition.search_path([str(tmp_path)]), "strategy=mine", "seed=0,1"]
    points = list(composition.points(overrides))
    assert [config["seed"] for _, config in points] == [0, 1]
    for point, _ in points:
        ((_, config),) = composition.points(point)
        assert config["names"]["strategy"] == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=maml", "strategy.inner_lr=1e-2", "optimizer.clip_norm=null", "seed=3"),
        ("strategy.inner_lr=0.1", "strategy=anil", "evaluation.steps=[0, 1]", "model.hidden=[4]"),
        ("experiment=smoke", "training.steps=4", "training.validation.every=2", "hardware=cpu"),
        ("strategy=guarded", "strategy.transfer.lr=0.2", "hardware.deterministic=false", "outputs=a.b"),
        ("evaluation.baseline_search={lr: [1]}", "dataset.noise=1", "dataset.noise=2.5"),
        ("optimizer.lr=${seed}", "dataset.k_shot=2", "logger=[]"),
        ("model=hf_text", "model.path=a/folder", "seed=1"),  # which no model of the package can do without
    ],
)
def test_what_other_tests_compose_in_short_is_what_hydra_composes(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = composed(*words)
    monkeypatch.setattr(composition, "_composed", remembered(HYDRAS))
    for _ in range(2):
        found = composed(*words)
        assert found == whole and [*found["strategy"]] == [*whole["strategy"]]
        found["strategy"]["inner_lr"] = "changed by a test"  # which is its own


def test_files_that_are_read_once_compose_the_same_whatever_was_composed_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several = (("experiment=smoke",), ("strategy=guarded", "strategy@strategy.transfer=leep"), ())
    whole = [composed(*words) for words in several]
    monkeypatch.setattr(ConfigRepository, "load_config", read_once(READ))
    for _ in range(2):
        assert [composed(*words) for words in several] == whole


def test_a_folder_of_ones_own_is_read_at_every_composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConfigRepository, "load_config", read_once(READ))
    (tmp_path / "optimizer").mkdir()
    for rate in (0.5, 0.25):
        (tmp_path / "optimizer" / "mine.yaml").write_text(f"defaults: [sgd]\nlr: {rate}\n")
        search = composition.search_path([str(tmp_path)])
        assert composed(*search, "optimizer=mine")["optimizer"]["lr"] == rate


def test_several_values_without_a_sweep_are_refused_in_a_line_of_ours() -> None:
    with pytest.raises(RequestError, match=r"^seed=0,1: several values are a sweep; add -m, or write one"):
        composition.run_jobs(["seed=0,1"], [], lambda _: None)


def test_a_misspelt_key_of_a_config_of_ones_own_is_told_the_keys_of_that_config(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.SGD\nlr: 0.1\nwidth: 2\n")
    with pytest.raises(RequestError, match=r"^optimizer\.widht: .*did you mean optimizer\.width\?"):
        composed(*composition.search_path([str(tmp_path)]), "optimizer=mine", "optimizer.widht=3")


def test_what_other_tests_compose_in_short_is_refused_as_by_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "_composed", remembered(HYDRAS))
    with pytest.raises(RequestError, match=r"^optimizer\.lrr: there is no such key; did you mean"):
        composed("optimizer.lrr=1")


def test_validation_adapts_as_the_strategy_trains_or_as_far_as_evaluation_goes() -> None:
    def steps(*overrides: str) -> int:
        ((_, config),) = composition.points(list(overrides))
        return int(config["training"]["validation"]["adaptation_steps"])

    own = ("strategy=maml", "strategy.inner_steps=3")
    assert steps(*own) == 3
    assert steps("strategy=finetune", "evaluation.steps=[0,7,2]") == 7
    assert steps(*own, "training.validation.adaptation_steps=2") == 2
