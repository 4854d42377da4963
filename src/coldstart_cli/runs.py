"""The run directory: what it is called, what it holds, and how it survives a crash.

    <outputs>/<strategy>-<data set>-<model>-s<seed>-<hash>/
        run.json            format number, state (unfinished | finished), steps, best step
        config.yaml         the resolved config
        environment.json    versions, hardware, command line
        history.jsonl       training metrics without times: byte-identical when a run is resumed
        timings.jsonl       seconds of the same steps
        checkpoints/        the last two states and the best by validation tasks
        evaluations/<hash>/ config.yaml, records.jsonl, summary.json

A run is its training: the hash covers what determines the trained weights and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from coldstart_cli.errors import RequestError
from coldstart_cli.files import finite, read_json, read_jsonl, umask, write_bytes, write_json
from coldstart_cli.foreign import LARGEST_YAML, Foreign, read_text, yaml_values
from coldstart_cli.migrations import FORMAT, completed, migrated

DETERMINING = ("strategy", "model", "optimizer", "training", "seed", "dataset")
PLACES = ("root", "unlabelled")
"""Keys of a data set that say where it lies; its content is in the fingerprint."""
REPORTING = ("log_every", "checkpoint_seconds")
"""Keys of `training` that do not change the trained weights."""
JUDGING = ("budget", "beyond")
"""Keys of `evaluation` that change no measurement: limits, and what is done about shots beyond the data."""


def digest(value: object) -> str:
    """Eight hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_name(config: Mapping[str, Any], fingerprint: str) -> str:
    """The directory name that determines, and is determined by, the training."""
    determining = {key: config[key] for key in DETERMINING}
    determining["dataset"] = {k: v for k, v in config["dataset"].items() if k not in PLACES}
    determining["training"] = {k: v for k, v in config["training"].items() if k not in REPORTING}
    determining |= {"fingerprint": fingerprint, "precision": config["hardware"]["precision"]}
    names = config["names"]
    parts = [names["strategy"], names["dataset"], names["model"], f"s{config['seed']}", digest(determining)]
    return "-".join(map(folder_name, parts))


def folder_name(name: str) -> str:
    """A name that may be anything as a part of a folder's name: [A-Za-z0-9._-]{1,60}, no leading . or -."""
    text = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:60]
    return f"_{text[1:]}" if text[:1] in ("", ".", "-") else text


def evaluation_hash(config: Mapping[str, Any], fingerprint: str) -> str:
    """The name of an evaluation inside its run: what is asked, of which data, beside which baseline."""
    data = {k: v for k, v in config["dataset"].items() if k not in PLACES}
    asked = {k: v for k, v in config["evaluation"].items() if k not in JUDGING}
    return digest([asked, config["baseline"], data, fingerprint])


def best_on_validation(path: Path, metric: str, higher_is_better: bool) -> float | None:
    """The best value that a run's history has of a validation metric, or None where it has none."""
    values = [row[metric] for row in read_jsonl(path / "history.jsonl") if row.get(metric) is not None]
    if not values:
        return None
    return float(max(values) if higher_is_better else min(values))


class Run:
    """One run directory. Creating the object touches nothing; `open` reads, `create` writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        return (self.path / "run.json").exists()

    @property
    def state(self) -> dict[str, Any]:
        """run.json, migrated to this version's format.

        Raises:
            RequestError: if it is no run, damaged, or of a newer format.
        """
        return migrated(read_json(self.path / "run.json", "run"), self.path)

    @property
    def finished(self) -> bool:
        return self.exists and self.state.get("state") == "finished"

    @property
    def config(self) -> dict[str, Any]:
        """config.yaml, with the values of today for what an evaluation could not ask when it was written.

        Raises:
            RequestError: as `read_config`.
        """
        return completed(read_config(self.path / "config.yaml"))

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.path / "checkpoints")

    def create(self, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Starts a run anew in this directory: whatever training was here is gone."""
        for name in ("checkpoints", "evaluations", "plots"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in ("run.json", "history.jsonl", "timings.jsonl"):
            (self.path / name).unlink(missing_ok=True)
        (self.path / "checkpoints").mkdir()
        write_config(self.path / "config.yaml", config)
        write_json(self.path / "environment.json", environment)
        self.mark("unfinished", steps=0)

    def mark(self, state: str, **facts: object) -> None:
        write_json(self.path / "run.json", {"format": FORMAT, "state": state, **facts})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing here; the lock goes with the process, however it ends.

        Raises:
            RequestError: if another process holds it, or the folder cannot be written.
        """
        self._check_links()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = open(self.path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise RequestError(
                f"outputs: {self.path} cannot be written ({error.strerror}); choose another with outputs=DIR"
            ) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                handle.seek(0)
                raise RequestError(
                    f"run: {self.path} is in progress in process {handle.read().strip() or '?'}; "
                    "wait for it, or change what it trains (seed=1)"
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def _check_links(self) -> None:
        """A run of somebody else's may hold a link to a file of the user's, which writing would change."""
        inside = self.path.resolve()
        for path in self.path.rglob("*"):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise RequestError(f"run: {path} is a link to elsewhere; remove it, if you trust the rest")

    def evaluation(self, name: str) -> Path:
        return self.path / "evaluations" / name

    def write_evaluation(
        self, name: str, config: Mapping[str, Any], records: Iterable[object], summary: Mapping[str, Any]
    ) -> None:
        """All of an evaluation appears at once or not at all."""
        folder = self.evaluation(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        partial.chmod(0o777 & ~umask())
        write_config(partial / "config.yaml", config)
        (partial / "records.jsonl").write_text(
            "".join(json.dumps(finite(record)) + "\n" for record in records), encoding="utf-8"
        )
        write_json(partial / "summary.json", summary)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


class Checkpoints:
    """States of a training, each written whole or not at all, each checked when read.

    A file is the SHA-256 of its payload, then the payload. The last two are kept, and the best.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: Mapping[str, Any], step: int) -> None:
        self._write(state, f"step-{step:09d}.ckpt")
        for old in self._steps()[:-2]:
            old.unlink()

    def save_best(self, state: Mapping[str, Any]) -> None:
        self._write(state, "best.ckpt")

    def latest(self) -> dict[str, Any] | None:
        """The newest state that is whole; a damaged one is named in a warning and passed over."""
        for path in reversed(self._steps()):
            state = self._read(path)
            if state is not None:
                return state
        return None

    def best(self) -> dict[str, Any]:
        """
        Raises:
            RequestError: if it is missing or damaged.
        """
        state = self._read(self.folder / "best.ckpt")
        if state is None or not isinstance(state.get("strategy", {}), dict):
            raise RequestError(
                f"run: {self.folder / 'best.ckpt'} is missing or damaged; train again with again=true"
            )
        return state

    def _steps(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.ckpt"))

    def _write(self, state: Mapping[str, Any], name: str) -> None:
        import torch  # late: whoever only reads results need not wait for it

        payload = io.BytesIO()
        torch.save(dict(state), payload)
        data = payload.getvalue()
        write_bytes(self.folder / name, hashlib.sha256(data).digest() + data)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        if len(data) < 32 or hashlib.sha256(data[32:]).digest() != data[:32]:
            warnings.warn(f"{path}: damaged; passed over", RuntimeWarning, stacklevel=3)
            return None
        import torch

        try:
            state = torch.load(io.BytesIO(data[32:]), map_location="cpu", weights_only=True)
        except Exception:  # whoever writes a hostile file can write its digest, too
            state = None
        if not isinstance(state, dict):
            warnings.warn(f"{path}: holds more than values; passed over", RuntimeWarning, stacklevel=3)
            return None
        return state


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    write_bytes(path, yaml.safe_dump(dict(config), sort_keys=False).encode())


def read_config(path: Path) -> dict[str, Any]:
    """A run's config: values only, whoever wrote it.

    Raises:
        RequestError: if it is missing, no YAML, or more than values (`foreign.yaml_values`).
    """
    try:
        config = yaml_values(read_text(path, LARGEST_YAML))
    except OSError as error:
        raise RequestError(f"run: {path} is missing or damaged; train again with again=true") from error
    except Foreign as error:
        remedy = "" if ";" in str(error) else "; train again with again=true"
        raise RequestError(f"run: {path} {error}{remedy}") from error
    if not isinstance(config, dict) or not set(DETERMINING) <= config.keys():
        raise RequestError(f"run: {path} is no run's config; train again with again=true")
    return config
