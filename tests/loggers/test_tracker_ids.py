"""Trackers with stores on this machine: what they keep of a run, or of one that goes on; what they refuse."""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldstart_cli.config.building import build, check
from coldstart_cli.errors import RequestError
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.loggers.mlflow import MLflow
from coldstart_cli.loggers.tracker_ids import keep_id, kept_id, scalars
from coldstart_cli.loggers.trackio import Trackio
from coldstart_cli.loggers.wandb import WandB

CONFIG = {
    "strategy": {"_target_": "x.MAML", "inner_lr": 0.1, "sizes": [1, 2], "none": None},
    "logger": {"console": {}},
    "names": {"strategy": "[red]$x^2$<b>"},
    "odd key = %": True,
    **{f"many{i}": i for i in range(230)},  # more than MLflow takes in one delivery
}
FLAT = {
    "strategy._target_": "x.MAML", "strategy.inner_lr": 0.1, "strategy.sizes": "[1, 2]",
    "strategy.none": None, "logger.console": "{}", "names.strategy": "[red]$x^2$<b>", "odd key = %": True,
    **{f"many{i}": i for i in range(230)},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing leaves the machine, and nothing is written beside the test's own folders."""
    home = tmp_path_factory.mktemp("home")
    for name in (
        "HF_TOKEN", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "WANDB_API_KEY", "WANDB_MODE", "MLFLOW_RUN_ID",
        "MLFLOW_TRACKING_URI",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HF_HOME", "TRACKIO_DIR"):
        monkeypatch.setenv(name, str(home / name))
    connect = socket.socket.connect

    def at_home(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), f"calls {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", at_home)


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    path = tmp_path / "outputs" / "maml-sinusoid"
    path.mkdir(parents=True)
    return path


def tell(logger: Any, steps: range, *, finish: bool = True) -> None:
    """A training of these steps with one validation, and an evaluation where it comes to the end."""
    logger.start("training", 10, steps.start - 1)
    for step in steps:
        logger.metrics(step, {"loss": 1 / step})
        logger.advance(step)
    logger.metrics(steps[-1], {"validation_mse": 0.5})
    if finish:
        logger.start("evaluating", 5, 0)
        logger.summary(10, {"1-shot/mse": 0.25, "similarity of [red]$x$=": 1.0})
    logger.close()


# ------------------------------------------------------------------------------------------- MLflow


# MLflow asks SQLAlchemy for what will be gone in a later release; its own matter.
mlflow_test = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests: making its tables takes a second."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="the extra mlflow is not installed")
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def mlflow_logger(run_path: Path, uri: str, *, resumed: bool = False, **changes: Any) -> MLflow:
    values = {"experiment": run_path.parents[1].name, "flush_seconds": 100.0, **changes}
    return MLflow(run_path, CONFIG, resumed, tracking_uri=uri, **values)


def mlflow_runs(run_path: Path, uri: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(run_path.parents[1].name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


@mlflow_test
def test_mlflow_keeps_curves_parameters_and_results(run_path: Path, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    tell(mlflow_logger(run_path, mlflow_uri), range(1, 11))
    (run,) = mlflow_runs(run_path, mlflow_uri)
    assert (run.info.run_name, run.info.status) == ("maml-sinusoid", "FINISHED")
    expected = {name.replace("=", "_").replace("%", "_"): str(value) for name, value in FLAT.items()}
    assert run.data.params == expected
    assert run.data.metrics == {
        "loss": 0.1, "validation_mse": 0.5, "1-shot/mse": 0.25, "similarity of _red__x__": 1.0,
    }  # fmt: skip
    history = MlflowClient(tracking_uri=mlflow_uri).get_metric_history(run.info.run_id, "loss")
    assert {m.step: m.value for m in history} == {step: 1 / step for step in range(1, 11)}


@mlflow_test
def test_mlflow_run_that_goes_on_is_one_run(run_path: Path, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    tell(mlflow_logger(run_path, mlflow_uri), range(1, 6), finish=False)
    (run,) = mlflow_runs(run_path, mlflow_uri)
    assert run.info.status == "KILLED"
    tell(mlflow_logger(run_path, mlflow_uri, resumed=True), range(6, 11))
    (same,) = mlflow_runs(run_path, mlflow_uri)
    assert (same.info.run_id, same.info.status) == (run.info.run_id, "FINISHED")
    history = MlflowClient(tracking_uri=mlflow_uri).get_metric_history(run.info.run_id, "loss")
    assert sorted(m.step for m in history) == list(range(1, 11))


@mlflow_test
def test_mlflow_run_begun_anew_or_deleted_or_elsewhere_is_another_run(
    run_path: Path, mlflow_uri: str
) -> None:
    from mlflow import MlflowClient

    tell(mlflow_logger(run_path, mlflow_uri), range(1, 3))
    tell(mlflow_logger(run_path, mlflow_uri, resumed=False), range(1, 3))
    assert len(mlflow_runs(run_path, mlflow_uri)) == 2
    latest = kept_id(run_path, "mlflow")
    assert latest is not None
    MlflowClient(tracking_uri=mlflow_uri).delete_run(latest)
    tell(mlflow_logger(run_path, mlflow_uri, resumed=True), range(1, 3))
    assert len(mlflow_runs(run_path, mlflow_uri)) == 2
    keep_id(run_path, "mlflow", "0" * 32)  # as of another store
    tell(mlflow_logger(run_path, mlflow_uri, resumed=True), range(1, 3))
    assert len(mlflow_runs(run_path, mlflow_uri)) == 3


@mlflow_test
def test_mlflow_delivers_in_time_and_whatever_the_number(run_path: Path, mlflow_uri: str) -> None:
    logger = mlflow_logger(run_path, mlflow_uri)
    logger.metrics(1, {"loss": 1.0})
    assert mlflow_runs(run_path, mlflow_uri)[0].data.metrics == {}
    logger.flush_seconds = 0.0
    logger.metrics(2, {"loss": 2.0})
    assert mlflow_runs(run_path, mlflow_uri)[0].data.metrics == {"loss": 2.0}
    logger.flush_seconds = 100.0
    for step in range(3, 1203):  # more than MLflow takes in one delivery
        logger.metrics(step, {"loss": float(step)})
    logger.close()
    assert mlflow_runs(run_path, mlflow_uri)[0].data.metrics == {"loss": 1202.0}


def test_mlflow_refuses_a_password_in_the_config(run_path: Path) -> None:
    node = {
        "_target_": "coldstart_cli.loggers.MLflow", "tracking_uri": "https://me:secret@host/",
        "experiment": "x", "flush_seconds": 1.0,
    }  # fmt: skip
    facts = {"run_path": run_path, "config": CONFIG, "resumed": False}
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    with pytest.raises(RequestError, match=r"^logger\.mlflow\.tracking_uri: holds a password") as caught:
        build(node, "logger.mlflow", Logger, [], facts)
    assert "secret" not in str(caught.value)
    assert list(run_path.iterdir()) == []


# ---------------------------------------------------------------------------------- Weights & Biases


@pytest.fixture
def wandb_logger(run_path: Path) -> Iterator[Callable[..., WandB]]:
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")

    def make(*, resumed: bool = False) -> WandB:
        return WandB(True, run_path, CONFIG, resumed, project="p", entity=None, mode="offline")

    yield make
    wandb.teardown()  # ends the process that W&B writes with


def wandb_records(file: Path) -> list[Any]:
    """The records of an offline run: LevelDB's log format, blocks of 32 KiB after a head of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, records, partial = file.read_bytes(), 7, [], b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        partial += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(partial))
            partial = b""
    return records


def logged(records: list[Any], kind: str) -> list[dict[str, Any]]:
    """The items of all records of a kind, as {name: value}."""
    found = []
    for record in records:
        if record.WhichOneof("record_type") == kind:
            part = getattr(record, kind)
            items = part.item if kind == "history" else part.update
            found.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return found


def test_wandb_keeps_curves_config_and_results_and_a_run_that_goes_on(
    run_path: Path, wandb_logger: Callable[..., WandB]
) -> None:
    tell(wandb_logger(), range(1, 6), finish=False)
    name = kept_id(run_path, "wandb")
    time.sleep(1 - time.time() % 1)  # its folders are named by the second
    tell(wandb_logger(resumed=True), range(6, 11))
    assert kept_id(run_path, "wandb") == name
    sys.modules["wandb"].teardown()  # its process writes on for a moment
    first, second = sorted(run_path.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb"))
    before, after = wandb_records(first), wandb_records(second)
    begun = next(record.run for record in before if record.WhichOneof("record_type") == "run")
    assert (begun.run_id, begun.display_name, begun.project) == (name, "maml-sinusoid", "p")
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert {key: config[key] for key in CONFIG} == CONFIG
    rows = [row for row in (*logged(before, "history"), *logged(after, "history")) if "loss" in row]
    assert {row["step"]: row["loss"] for row in rows} == {step: 1 / step for step in range(1, 11)}
    results = {key: value for row in logged(after, "summary") for key, value in row.items()}
    assert results["1-shot/mse"] == 0.25
    exits = [r.exit.exit_code for r in (*before, *after) if r.WhichOneof("record_type") == "exit"]
    assert exits == [1, 0]
    tell(wandb_logger(resumed=False), range(1, 2))
    assert kept_id(run_path, "wandb") != name


def test_wandb_quiet_prints_nothing(
    wandb_logger: Callable[..., WandB], capfd: pytest.CaptureFixture[str]
) -> None:
    tell(wandb_logger(), range(1, 3))
    assert capfd.readouterr() == ("", "")


# -------------------------------------------------------------------------------------------- Trackio


@pytest.fixture
def trackio_logger(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trackio]:
    trackio = pytest.importorskip("trackio", reason="the extra trackio is not installed")
    home = run_path.parents[1] / "trackio"
    for module in list(sys.modules.values()):  # its folder is read once, where it is imported
        if getattr(module, "__name__", "").startswith("trackio") and hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", home)
    monkeypatch.setattr(trackio.Run, "_get_username", lambda self: None)

    def make(*, resumed: bool = False, quiet: bool = True, project: str = "p") -> Trackio:
        return Trackio(quiet, run_path, CONFIG, resumed, project=project, space_id=None)

    return make


def trackio_rows() -> dict[str, list[Mapping[str, Any]]]:
    from trackio.sqlite_storage import SQLiteStorage

    records = SQLiteStorage.get_run_records("p")
    return {r["id"]: SQLiteStorage.get_logs("p", r["name"], run_id=r["id"]) for r in records}


def test_trackio_keeps_curves_and_results_and_a_run_that_goes_on(
    trackio_logger: Callable[..., Trackio], capfd: pytest.CaptureFixture[str]
) -> None:
    tell(trackio_logger(), range(1, 6), finish=False)
    tell(trackio_logger(resumed=True), range(6, 11))
    assert capfd.readouterr() == ("", "")
    ((name, rows),) = trackio_rows().items()
    assert {row["step"]: row["loss"] for row in rows if "loss" in row} == {s: 1 / s for s in range(1, 11)}
    assert [(row["step"], row["1-shot/mse"]) for row in rows if "1-shot/mse" in row] == [(10, 0.25)]
    tell(trackio_logger(resumed=False), range(1, 2))
    assert len(trackio_rows()) == 2
    assert name in trackio_rows()


def test_trackio_prints_on_standard_error_alone(
    trackio_logger: Callable[..., Trackio], capfd: pytest.CaptureFixture[str]
) -> None:
    tell(trackio_logger(quiet=False), range(1, 2))
    out, err = capfd.readouterr()
    assert out == ""
    assert "maml-sinusoid" in err


def test_trackio_refuses_a_project_by_its_key(trackio_logger: Callable[..., Trackio]) -> None:
    with pytest.raises(ValueError, match=r"^project: .*registry-x"):
        trackio_logger(project="registry-x")


# --------------------------------------------------------------------------------------------- shared


@pytest.mark.parametrize("name", ["mlflow", "wandb", "trackio", "tensorboard"])
def test_tracker_that_is_not_installed_is_refused_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldstart_cli.config import composition

    ((_, config),) = composition.points([f"logger=[{name}]"])
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]  # as if it were absent
    message = f"logger.{name}: the package {name} is not installed; pip install 'coldstart-cli[{name}]'"
    with pytest.raises(RequestError) as caught:
        check(config["logger"][name], f"logger.{name}", Logger, [])
    assert str(caught.value) == message


def test_flat_names_every_value_by_its_place() -> None:
    assert scalars(CONFIG) == FLAT
    assert scalars({}) == {}


nodes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.text("abc", min_size=1), inner) | st.lists(inner, max_size=3),
)


@settings(max_examples=50)
@given(st.dictionaries(st.text("abc", min_size=1), nodes))
def test_flat_loses_nothing(config: dict[str, Any]) -> None:
    found = scalars(config)

    def place(node: object, key: str) -> Iterator[tuple[str, object]]:
        if isinstance(node, dict) and node:
            for name, value in node.items():
                yield from place(value, f"{key}.{name}" if key else name)
        elif key:
            yield key, node

    expected = dict(place(config, ""))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert (json.loads(found[key]) if isinstance(value, dict | list) else found[key]) == value


def test_kept_ids_stand_side_by_side(run_path: Path) -> None:
    assert kept_id(run_path, "mlflow") is None
    keep_id(run_path, "mlflow", "a")
    keep_id(run_path, "wandb", "b")
    keep_id(run_path, "mlflow", "c")
    assert (kept_id(run_path, "mlflow"), kept_id(run_path, "wandb")) == ("c", "b")
