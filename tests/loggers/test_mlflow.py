"""What MLflow keeps of a run, or of one that goes on; what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.config.building import build
from coldstart_cli.errors import RequestError
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.loggers.mlflow import MLflow
from coldstart_cli.loggers.tracker_ids import keep_id, kept_id
from tests.kit.tracked import CONFIG, FLAT, tell

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
