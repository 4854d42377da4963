"""Sends runs to MLflow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from annotated_types import Ge

from coldstart_cli.files.locks import locked
from coldstart_cli.loggers.tracker_ids import _allowed, keep_id, kept_id, scalars


class MLflow:
    """A run in MLflow; needs the extra `mlflow`.

    Args:
        run_path, config, resumed: the run directory, its config, whether training continues; from the run.
        tracking_uri: sqlite:///FILE, a server's address, or None for the value of MLFLOW_TRACKING_URI.
        experiment: name that groups runs; created where it is missing.
        flush_seconds: time between two deliveries.
    """

    extra: ClassVar = "mlflow"
    packages: ClassVar = ("mlflow", "sqlalchemy")

    def __init__(
        self,
        run_path: Path,
        config: Mapping[str, Any],
        resumed: bool,
        *,
        tracking_uri: str | None,
        experiment: str,
        flush_seconds: Annotated[float, Ge(0)],
    ) -> None:
        if tracking_uri is not None and urlsplit(tracking_uri).password is not None:
            raise ValueError(
                "tracking_uri: holds a password, which a config would show; set MLFLOW_TRACKING_URI in the "
                "environment and give tracking_uri=null"
            )
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent unless asked for
        # A server that is gone delays training once, by a quarter of a minute; by default by four minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it would report each table that it creates
        self.tracking_uri, self.experiment, self.flush_seconds = tracking_uri, experiment, flush_seconds
        self._metric, self._waiting, self._flushed = Metric, list[Any](), time.monotonic()
        # Until a summary arrives, which only a run that ends well sends.
        self._status = "KILLED"
        with locked(run_path.parent / ".mlflow.lock"):  # two processes must not create its tables at once
            self._client = MlflowClient(tracking_uri=tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
            place = self._client.create_experiment(experiment) if found is None else found.experiment_id
        known = self._known(run_path) if resumed else None
        self._id = self._begun(place, run_path, config) if known is None else known
        self._client.update_run(self._id, status="RUNNING")

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._waiting += [self._metric(_allowed(name), value, now, step) for name, value in values.items()]
        if time.monotonic() - self._flushed >= self.flush_seconds:
            self._flush()

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self.metrics(step, values)
        self._status = "FINISHED"

    def close(self) -> None:
        self._flush()
        self._client.set_terminated(self._id, status=self._status)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for i in range(0, len(waiting), 1000):  # MLflow's limit for one delivery
            self._client.log_batch(self._id, metrics=waiting[i : i + 1000])
        self._flushed = time.monotonic()

    def _begun(self, experiment_id: str, run_path: Path, config: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        identity = str(self._client.create_run(experiment_id, run_name=run_path.name).info.run_id)
        parameters = [Param(_allowed(name), str(value)) for name, value in scalars(config).items()]
        for i in range(0, len(parameters), 100):  # MLflow's limit for one delivery
            self._client.log_batch(identity, params=parameters[i : i + 100])
        keep_id(run_path, "mlflow", identity)
        return identity

    def _known(self, run_path: Path) -> str | None:
        """The run's id in this store, if it has the run: the store may be a different one than before."""
        from mlflow.exceptions import MlflowException

        known = kept_id(run_path, "mlflow")
        if known is None:
            return None
        try:
            found = self._client.get_run(known)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return known if found.info.lifecycle_stage == "active" else None
