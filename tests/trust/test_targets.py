"""S2: what a config, a run, a bundle or a command line names is never called unless it is what fits there."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.config import composition
from tests.kit.reliability import Tries
from tests.trust.conftest import DATA, SMALL, TRAINED, Stage, said

TARGETS: list[dict[str, Any]] = [
    {"_target_": "evil.Thing"},
    {"_target_": "evil.mark"},
    {"_target_": "os.system", "command": "touch {mark}"},
    {"_target_": "subprocess.Popen", "args": ["touch", "{mark}"]},
    {"_target_": "builtins.exec", "source": "open('{mark}', 'w')"},
    {"_target_": "importlib.import_module", "name": "evil"},
    {"_target_": "pathlib.Path.touch", "self": "{mark}"},
    {"_target_": "coldstart_cli.files.durable.write_bytes", "path": "{mark}", "data": "x"},
    {"_target_": "coldstart_cli.cli.main", "argv": ["cp", "strategy/maml", "{mark}"]},
    {"_target_": "coldstart_cli.runs.run.os.system", "command": "touch {mark}"},
    {"_target_": "coldstart_cli.config.composition.hydra.utils.call", "config": {"_target_": "evil.mark"}},
    {"_target_": "coldstart_cli.files.durable.append_jsonl", "path": "{mark}", "row": {}},
    {"_target_": "torch.hub.load", "repo_or_dir": "evil", "model": "x", "source": "local"},
    {"_target_": "hydra.utils.instantiate", "config": {"_target_": "evil.mark"}},
]
PLACES = ("strategy", "model", "dataset", "optimizer", "hardware", "evaluation", "training", "logger.console",
          "training.validation", "evaluation.budget", "strategy.child", "baseline")  # fmt: skip


def armed(node: dict[str, Any], mark: Path) -> dict[str, Any]:
    return json.loads(json.dumps(node).replace("{mark}", str(mark)))


def put(tree: dict[str, Any], place: str, node: object) -> None:
    *above, last = place.split(".")
    for name in above:
        tree = tree[name]
    tree[last] = node


def on_the_command_line(stage: Stage, place: str, node: dict[str, Any]) -> tuple[str, ...]:
    text = json.dumps(node).replace('"_target_"', "_target_")
    return ("train", *TRAINED, f"++{place}={text}")


def in_a_folder_of_configs(stage: Stage, place: str, node: dict[str, Any]) -> tuple[str, ...]:
    (stage.folder / "cd" / "experiment").mkdir(parents=True)
    tree: dict[str, Any] = {}
    for name in reversed(place.split(".")):
        tree = {name: tree or node}
    text = "# @package _global_\n" + json.dumps({**tree, "trust": ["evil", "os", "subprocess"]})
    (stage.folder / "cd" / "experiment" / "theirs.yaml").write_text(text)
    rest = [o for o in TRAINED if not o.startswith("experiment=")]
    return ("train", *rest, "experiment=theirs", "--config-dir", "cd")


def in_a_run(stage: Stage, place: str, node: dict[str, Any]) -> tuple[str, ...]:
    def change(config: dict[str, Any]) -> None:
        put(config, place, node)
        config["trust"] = ["evil", "os", "subprocess", "builtins", "importlib", "pathlib", "hydra", "torch"]

    stage.edit_config(change)
    return ("evaluate", f"run={stage.run}", "again=true")


def in_a_run_to_adapt(stage: Stage, place: str, node: dict[str, Any]) -> tuple[str, ...]:
    in_a_run(stage, place, node)
    return ("adapt", f"run={stage.run}", *DATA, "bundle=new")


def in_a_bundle(stage: Stage, place: str, node: dict[str, Any]) -> tuple[str, ...]:
    place = place if place.split(".")[0] in ("strategy", "model", "optimizer") else "model.preprocess"

    def change(card: dict[str, Any]) -> None:
        put(card["build"], place, node)
        card["build"]["trust"] = card["trust"] = ["evil", "os"]

    stage.edit_card(change)
    return ("predict", "bundle=b", "input=points.npz")


WAYS = (on_the_command_line, in_a_folder_of_configs, in_a_run, in_a_run_to_adapt, in_a_bundle)


def cases() -> Iterator[tuple[Callable[..., tuple[str, ...]], str, dict[str, Any]]]:
    """Every target in every way, each at another place."""
    places = itertools.cycle(PLACES)
    for node in TARGETS:
        for way in WAYS:
            yield way, next(places), node


@pytest.mark.fault("S2")
def test_hostile_targets_never_run(stage: Stage, tries: Tries) -> None:
    for i, (way, place, node) in zip(tries.of(15, len(TARGETS) * len(WAYS)), cases(), strict=False):
        ended = said(*way(stage, place, armed(node, stage.mark)))
        words = f"{i}: {node['_target_']} {way.__name__} at {place}"
        if stage.mark.exists():
            tries.failures.append(f"{words} ran")
            stage.mark.unlink()
        elif ended.wrong and not (way is in_a_run_to_adapt and place.startswith("dataset")):
            tries.failures.append(f"{words}: {ended.wrong}")  # whose data set gives way to the user's
        stage.fresh()


HYDRA = [
    ("+hydra.callbacks.x={_target_: evil.Thing}",),
    ("++hydra.job_logging={version: 1, handlers: {h: {class: evil.Thing}}, root: {handlers: [h]}}",),
    ("++hydra.job_logging={version: 1, handlers: {h: {\\(\\): evil.mark}}, root: {handlers: [h]}}",),
    ("++hydra.hydra_logging={version: 1, handlers: {h: {class: evil.Thing}}, root: {handlers: [h]}}",),
    ("hydra.searchpath=[pkg://evil]",),
    ("hydra.sweeper._target_=evil.Thing", "-m"),
    ("hydra.launcher._target_=evil.Thing", "-m"),
    ("hydra.launcher._target_=evil.Thing", "-m", "seed=0,1"),
    ("hydra.callbacks={x: {_target_: evil.Thing}},null", "-m", "hydra/sweeper=basic"),
    ("+hydra.job.env_set.LD_PRELOAD=x",),
    ("+hydra.callbacks.x={_target_: evil.Thing}", "--cfg", "job"),
    ("+hydra.callbacks.x={_target_: evil.Thing}", "-m", "--dry-run"),
]


@pytest.mark.fault("S2")
def test_hydra_itself_runs_nothing_that_a_config_names(stage: Stage, tries: Tries) -> None:
    for i in tries.of(len(HYDRA), len(HYDRA)):
        # as typed; and those that a YAML can hold, out of a folder of somebody else's configs
        ended = said("train", *TRAINED, *HYDRA[i])
        if stage.mark.exists() or ended.wrong:
            tries.failures.append(f"{HYDRA[i]}: ran={stage.mark.exists()}, {ended.wrong}")
            stage.mark.unlink(missing_ok=True)


def test_hydra_would_run_a_callback_without_the_guard(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "check_hydra", lambda *args: None)
    overrides = [*TRAINED, "+hydra.callbacks.x={_target_: evil.Thing}"]
    with pytest.warns(UserWarning, match="Callback Thing"):  # it has none of a callback's methods
        composition.run_jobs(overrides, ["-m"], lambda config: None)  # as a sweep with another launcher does
    assert stage.mark.exists()


def test_trust_that_a_run_names_would_run_it(stage: Stage) -> None:
    """The payload works where the user's own command line trusts it; a run cannot say so itself."""
    command = in_a_run(stage, "model", {"_target_": "evil.Thing"})
    assert said(*command).code == 2 and not stage.mark.exists()
    said(*command, "trust=[evil]")
    assert stage.mark.exists()


def test_trust_in_a_config_is_refused(stage: Stage) -> None:
    (stage.folder / "cd" / "experiment").mkdir(parents=True)
    (stage.folder / "cd" / "experiment" / "theirs.yaml").write_text("# @package _global_\ntrust: [evil]\n")
    ended = said("train", *SMALL[:-1], *DATA, "experiment=theirs", "--config-dir", "cd")
    assert ended.wrong is None
    assert ended.err.startswith("trust: is set in a config; write it on the command line")


def test_loggers_of_a_run_send_nowhere_unasked(stage: Stage) -> None:
    node = {"_target_": "coldstart_cli.loggers.MLflow", "tracking_uri": "https://theirs.example/",
            "experiment": "x", "flush_seconds": 1.0}  # fmt: skip
    for name in ("mlflow", "console", "x!"):
        stage.edit_config(lambda config, name=name: config.update(logger={name: node}))
        ended = said("evaluate", f"run={stage.run}", "again=true")
        assert ended.wrong is None
        assert ended.err.startswith(f"logger.{name}.tracking_uri: https://theirs.example/ is an address that")
    assert said("evaluate", f"run={stage.run}", "again=true", "logger=[console]").code == 0
