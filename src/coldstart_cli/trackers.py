"""Loggers that keep runs side by side in a store of their own: MLflow, Weights & Biases, Trackio.

What a constructor cannot open is refused before training. A run that goes on continues the tracker's run,
which is named in the run directory. Keys and passwords come from the trackers' own environment variables
(MLFLOW_TRACKING_URI, WANDB_API_KEY, HF_TOKEN), never from a config, which is written down and shown.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from annotated_types import Ge

from coldstart_cli.files import flat, read_json, write_json


class MLflow:
    """A run of MLflow; needs the extra `mlflow`.

    Args:
        run_path, config, resumed: the run directory, its config, whether its training goes on; from the run.
        tracking_uri: sqlite:///FILE, a server's address, or None for what MLFLOW_TRACKING_URI says.
        experiment: runs that stand together; made where it is missing.
        flush_seconds: between two deliveries.
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
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing leaves this machine unasked
        # A server that is gone holds training up once, a quarter of a minute; by default it would be four.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it would speak of each table it makes
        self.tracking_uri, self.experiment, self.flush_seconds = tracking_uri, experiment, flush_seconds
        self._metric, self._waiting, self._flushed = Metric, list[Any](), time.monotonic()
        self._status = "KILLED"
        with _alone(run_path.parent / ".mlflow.lock"):  # two processes cannot make one database's tables
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
        for i in range(0, len(waiting), 1000):  # no more go in one delivery
            self._client.log_batch(self._id, metrics=waiting[i : i + 1000])
        self._flushed = time.monotonic()

    def _begun(self, experiment_id: str, run_path: Path, config: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        identity = str(self._client.create_run(experiment_id, run_name=run_path.name).info.run_id)
        parameters = [Param(_allowed(name), str(value)) for name, value in scalars(config).items()]
        for i in range(0, len(parameters), 100):  # no more go in one delivery
            self._client.log_batch(identity, params=parameters[i : i + 100])
        keep_id(run_path, "mlflow", identity)
        return identity

    def _known(self, run_path: Path) -> str | None:
        """The run's id in this store, if it is there: the store may be another one than before."""
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


class WandB:
    """A run of Weights & Biases, its files below wandb/ in the run directory; needs the extra `wandb`.

    Args:
        quiet: print nothing; from the run.
        run_path, config, resumed: the run directory, its config, whether its training goes on; from the run.
        project: runs that stand together.
        entity: user or team, None for one's own.
        mode: `offline` writes files that `wandb sync` delivers; `online` needs WANDB_API_KEY or a login.
    """

    extra: ClassVar = "wandb"
    packages: ClassVar = ("wandb",)

    def __init__(
        self,
        quiet: bool,
        run_path: Path,
        config: Mapping[str, Any],
        resumed: bool,
        *,
        project: str,
        entity: str | None,
        mode: Literal["online", "offline"],
    ) -> None:
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing leaves this machine
        import wandb

        self.project, self.entity, self.mode = project, entity, mode
        self._exit_code = 1
        known = kept_id(run_path, "wandb") if resumed else None
        self._run = wandb.init(
            project=project,
            entity=entity,
            name=run_path.name,
            id=known or uuid.uuid4().hex[:8],
            resume="allow" if mode == "online" else None,
            dir=run_path,
            mode=mode,
            config=None if known else dict(config),
            settings=wandb.Settings(console="off", silent=quiet),
        )
        # W&B drops a step that it has seen, and after a crash some come again: the axis is a metric of ours.
        self._run.define_metric("*", step_metric="step")
        keep_id(run_path, "wandb", self._run.id)

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self._run.summary.update(dict(values))
        self._exit_code = 0

    def close(self) -> None:
        self._run.finish(exit_code=self._exit_code)


class Trackio:
    """A run of Trackio, in its folder (TRACKIO_DIR) or on a Space; needs the extra `trackio`.

    Args:
        quiet: print nothing; from the run.
        run_path, config, resumed: the run directory, its config, whether its training goes on; from the run.
        project: runs that stand together.
        space_id: a Hugging Face Space, which needs HF_TOKEN or a login; None stays on this machine.
    """

    extra: ClassVar = "trackio"
    packages: ClassVar = ("trackio",)

    def __init__(
        self,
        quiet: bool,
        run_path: Path,
        config: Mapping[str, Any],
        resumed: bool,
        *,
        project: str,
        space_id: str | None,
    ) -> None:
        self.project, self.space_id = project, space_id
        self._quiet = quiet
        with self._aside():
            import trackio

            self._trackio = trackio
            try:
                self._run = trackio.init(
                    project,
                    name=run_path.name,
                    space_id=space_id,
                    config=scalars(config),
                    resume="allow" if resumed else "never",
                    embed=False,
                )
            except ValueError as error:
                raise ValueError(f"project: {error}") from error

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self.metrics(step, values)

    def close(self) -> None:
        with self._aside():
            self._trackio.finish()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """What Trackio prints goes to standard error: standard output holds the report alone."""
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere if self._quiet else sys.stderr),
        ):
            yield


def scalars(config: Mapping[str, Any]) -> dict[str, Any]:
    """{a: {b: 1}} -> {"a.b": 1}; lists and empty mappings as JSON."""
    return {
        key: json.dumps(value) if isinstance(value, Mapping | list) else value
        for key, value in flat(config).items()
    }


def keep_id(run_path: Path, tracker: str, identity: str) -> None:
    """Notes in the run directory what the tracker calls this run."""
    path = run_path / "trackers.json"
    known = read_json(path, "run") if path.exists() else {}
    write_json(path, {**known, tracker: identity})


def kept_id(run_path: Path, tracker: str) -> str | None:
    path = run_path / "trackers.json"
    return read_json(path, "run").get(tracker) if path.exists() else None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time, by a lock on a file, which goes with the process however it ends."""
    with open(path, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _allowed(name: str) -> str:
    """MLflow's names have letters, digits and _-./ : alone."""
    return re.sub(r"[^\w\-./ :]", "_", name)
