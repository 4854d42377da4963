"""The run directory: its name, its contents, and how it survives a crash.

    <outputs>/<strategy>-<data set>-<model>-s<seed>-<hash>/
        run.json            format number, state (unfinished | finished), steps, best step
        failure.json        why the last attempt failed, until the next one begins
        config.yaml         the resolved config
        environment.json    versions, hardware, command line; what lay at model.path, by content
        history.jsonl       training metrics without times: byte-identical when a run is resumed
        timings.jsonl       seconds of the same steps
        checkpoints/        the last two states and the best by validation tasks
        evaluations/<hash>/ config.yaml, records.jsonl, summary.json

A run is identified by what determines its weights; the hash covers exactly that.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from coldstart_cli.digests import json_digest
from coldstart_cli.errors import RequestError, line
from coldstart_cli.files.durable import (
    PARTIAL,
    finite,
    read_json,
    read_jsonl,
    remove,
    umask,
    write_bytes,
    write_json,
    writing,
)
from coldstart_cli.files.locks import held
from coldstart_cli.files.plain_yaml import LARGEST_YAML, yaml_values
from coldstart_cli.files.untrusted import Foreign, read_text, shaped
from coldstart_cli.metrics.results import Summary, summary_of
from coldstart_cli.processes import ranks
from coldstart_cli.renamed import renamed
from coldstart_cli.runs.checkpoints import Checkpoints
from coldstart_cli.runs.migrations import FORMAT, REDESIGNED, as_hashed, completed, migrated

LOCK, FAILURE = ".lock", "failure.json"
DETERMINING = ("strategy", "model", "optimizer", "training", "seed", "dataset")
PLACES = (
    "root",
    "unlabelled",
    "file_list",
    "labelled",
    "descriptions",
    "delimiter",
    "quoted",
    "header",
    "sheet",
    "decimal",
    "keep",
    "target",
)
"""Keys of a data set that say where it is stored and how it is written; its content is in the fingerprint."""
REPORTING = ("trials", "log_every", "checkpoint_seconds")
"""Keys of `training` that do not change the trained weights."""
JUDGING = ("budget", "beyond", "reuse_baseline")
"""Keys of `evaluation` that change no result: limits, the treatment of shots beyond the data, and whether
records of the baseline may come from an earlier run."""


def run_name(config: Mapping[str, Any], fingerprint: str, designs: Mapping[str, int] = REDESIGNED) -> str:
    """The directory name that determines, and is determined by, the training; `designs` as in `as_hashed`."""
    determining = {key: as_hashed(config[key], designs=designs) for key in DETERMINING}
    determining["dataset"] = {k: v for k, v in determining["dataset"].items() if k not in PLACES}
    determining["training"] = training_that_determines(determining["training"])
    determining |= {"fingerprint": fingerprint, **rounding(config["hardware"])}
    names = config["names"]
    parts = [
        names["strategy"],
        names["dataset"],
        names["model"],
        f"s{config['seed']}",
        json_digest(determining),
    ]
    return "-".join(map(folder_name, parts))


def rounding(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """What of the hardware changes weights on one machine: the precision, and whether steps are compiled."""
    compiled = {"compile": True} if hardware.get("compile") else {}  # names of before hold no such key
    return {"precision": hardware["precision"], **compiled}


def training_that_determines(training: Mapping[str, Any]) -> dict[str, Any]:
    """What of `training` changes weights: not the steps, where the number of examples says them."""
    left_out = REPORTING if training.get("examples") is None else (*REPORTING, "steps")
    return {key: value for key, value in training.items() if key not in left_out}


def folder_name(name: str) -> str:
    """Any name as a part of a folder's name: [A-Za-z0-9._-]{1,60}, without a leading . or -."""
    text = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:60]
    return f"_{text[1:]}" if text[:1] in ("", ".", "-") else text


def evaluation_hash(config: Mapping[str, Any], fingerprint: str) -> str:
    """The name of an evaluation inside its run, from its plan, its data and its baseline."""
    data = {k: v for k, v in config["dataset"].items() if k not in PLACES}
    asked = {k: v for k, v in config["evaluation"].items() if k not in JUDGING}
    return json_digest(as_hashed([asked, config["baseline"], data, fingerprint]))


def best_on_validation(path: Path, metric: str, higher_is_better: bool) -> float | None:
    """The best value of a validation metric in a run's history, or None where there is none."""
    values = [row[metric] for row in read_jsonl(path / "history.jsonl") if row.get(metric) is not None]
    if not values:
        return None
    return float(max(values) if higher_is_better else min(values))


class Run:
    """One run directory. Creating the object touches nothing on disk; `create` writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        return (self.path / "run.json").exists()

    @property
    def state(self) -> dict[str, Any]:
        """run.json, migrated to this version's format.

        Raises:
            RequestError: where there is no run.json, or it is damaged or of a newer format.
        """
        return migrated(read_json(self.path / "run.json", "run"), self.path)

    @property
    def finished(self) -> bool:
        return self.exists and self.state.get("state") == "finished"

    @property
    def config(self) -> dict[str, Any]:
        """config.yaml, completed by the keys that were added since it was written.

        Raises:
            RequestError: as for `read_config`.
        """
        return completed(read_config(self.path / "config.yaml"))

    def check_name(self) -> None:
        """Refuses a directory whose name says that it holds one training, while it holds another.

        Somebody copied or renamed it: the name is determined by what was trained, so it can be computed anew.

        Raises:
            RequestError: naming the run that is there.
        """
        try:
            config = read_config(self.path / "config.yaml")
            fingerprint = str(read_json(self.path / "environment.json", "run")["fingerprint"])
            held, before = run_name(config, fingerprint), run_name(config, fingerprint, {})
        except (RequestError, LookupError, TypeError):
            return  # damaged: what reads it says so
        if self.path.name == before != held:
            raise RequestError(
                f"run: {self.path} was trained by an earlier {config['names']['strategy']}, of another "
                "design; its results can be compared, but to evaluate it further train it anew"
            )
        if held != self.path.name:
            raise RequestError(
                f"run: {self.path} holds another run, {held}, copied or renamed; give it that name back, or "
                "train anew with again=true (E34)"
            )

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.path / "checkpoints")

    @ranks.alone
    def create(self, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Starts a new run in this directory; any earlier training in it is removed."""
        # run.json is removed first and written last: a crash in between leaves no run rather than half a one.
        for name in ("run.json", "history.jsonl", "timings.jsonl", "checkpoints", "evaluations", "plots"):
            remove(self.path / name)
        write_config(self.path / "config.yaml", config)
        write_json(self.path / "environment.json", environment)
        self.mark("unfinished", steps=0)

    @ranks.alone
    def mark(self, state: str, **facts: object) -> None:
        write_json(self.path / "run.json", {"format": FORMAT, "state": state, **facts})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing here; the lock ends with the process, however that ends.

        Raises:
            RequestError: where another process holds the lock, or the folder cannot be written.
        """
        if not ranks.first():
            yield
            return
        self._check_links()
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(self.path / LOCK, self._in_progress))
            except OSError as error:
                raise RequestError(
                    f"outputs: {self.path} cannot be written ({error.strerror}); choose another with "
                    "outputs=DIR"
                ) from error
            for partial in self.path.rglob(f".*{PARTIAL}"):  # of processes that were killed
                remove(partial)
            remove(self.path / FAILURE)
            try:
                yield
            except RequestError:  # refused, which is no failure of the run
                raise
            except Exception as error:
                self._note_failure(str(error))
                raise

    def failed(self, reason: str) -> None:
        """Notes why an attempt failed whose process could not say so itself."""
        if not self.exists or self.finished or (self.path / FAILURE).exists():
            return
        # Held by another: then that job was refused because this run is in progress
        with contextlib.suppress(RequestError, OSError), held(self.path / LOCK, self._in_progress):
            self._note_failure(reason)

    def _note_failure(self, reason: str) -> None:
        with contextlib.suppress(RequestError, OSError):  # a full disk may be what failed
            if self.exists:
                write_json(self.path / FAILURE, {"reason": line(reason)})

    def _in_progress(self, process: str) -> str:
        return (
            f"run: {self.path} is in progress in process {process}; wait for it, or change what it trains "
            "(seed=1) (E30)"
        )

    def _check_links(self) -> None:
        """Refuses links that leave a run: in one from elsewhere, writing could change a user's own file.

        It may hold a FIFO as well, where opening one to append to it waits for a reader.
        """
        inside = self.path.resolve()
        for path in self.path.rglob("*"):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise RequestError(f"run: {path} is a link out of the run; remove it if you trust the rest")
            if path.exists() and not path.is_dir() and not path.is_file():
                raise RequestError(f"run: {path} is not a file; remove it if you trust the rest")

    def evaluation(self, name: str) -> Path:
        return self.path / "evaluations" / name

    def evaluations(self) -> tuple[str, ...]:
        """The names of its evaluations, the newest first."""
        folder = self.path / "evaluations"
        if not folder.is_dir():
            return ()
        names = sorted(place.name for place in folder.iterdir() if not place.name.startswith("."))
        return tuple(sorted(names, key=lambda name: -self.written(name)))

    def written(self, evaluation: str) -> float:
        """When an evaluation was written, in seconds since 1970; 0 where it has no summary."""
        try:
            return (self.evaluation(evaluation) / "summary.json").stat().st_mtime
        except OSError:
            return 0.0

    def summary(self, evaluation: str) -> Summary:
        """The summary of an evaluation, written by this version or an earlier one.

        Raises:
            RequestError: where it is missing, damaged, or not a summary.
        """
        place = self.evaluation(evaluation) / "summary.json"
        value = read_json(place, "run", "evaluate the run again with again=true")
        with shaped("run", place):
            return summary_of(value)

    @ranks.alone
    def note_trials(self, evaluation: str, trials: int | None) -> None:
        """Writes into a summary how many trials chose the settings, where that has become known since."""
        place = self.evaluation(evaluation) / "summary.json"
        value = read_json(place, "run")
        if trials is not None and value["training"].get("trials") != trials:
            write_json(place, {**value, "training": {**value["training"], "trials": trials}})

    @ranks.alone
    def write_evaluation(
        self, name: str, config: Mapping[str, Any], records: Iterable[object], summary: Mapping[str, Any]
    ) -> None:
        """Writes an evaluation, which appears at once and complete, or not at all.

        Raises:
            RequestError: where it cannot be written, naming path and bytes.
        """
        folder = self.evaluation(name)
        lines = "".join(json.dumps(finite(record)) + "\n" for record in records).encode()
        with writing(folder, len(lines)):
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{name}-", suffix=PARTIAL, dir=folder.parent))
        try:
            # mkdtemp makes folders for their owner alone; a run has the permissions of other files.
            partial.chmod(0o777 & ~umask())
            write_config(partial / "config.yaml", config)
            write_bytes(partial / "records.jsonl", lines)
            write_json(partial / "summary.json", summary)
            with writing(folder, len(lines)):
                remove(folder)
                # On one file system a rename is atomic: readers see the old evaluation or the new one.
                partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    write_bytes(path, yaml.safe_dump(dict(config), sort_keys=False).encode())


def read_config(path: Path) -> dict[str, Any]:
    """A run's config, read as plain values, since a run may come from anywhere.

    Raises:
        RequestError: where it is missing, not YAML, or has more than plain values (`plain_yaml.yaml_values`).
    """
    try:
        config = yaml_values(read_text(path, LARGEST_YAML))
    except OSError as error:
        raise RequestError(f"run: {path} is missing or damaged; train again with again=true") from error
    except Foreign as error:
        remedy = "" if ";" in str(error) else "; train again with again=true"
        raise RequestError(f"run: {path} {error}{remedy}") from error
    if not isinstance(config, dict) or not set(DETERMINING) <= config.keys():
        raise RequestError(f"run: {path} is not a run's config; train again with again=true")
    return cast("dict[str, Any]", renamed(config))
