"""What a folder of runs holds, a line for each: how it stands, what it reached, what continues it.

Of a finished run only JSON is read, so that thousands take seconds; the config of one that has no evaluation,
or that a filter asks for, is YAML.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.durable import flat, read_json
from coldstart_cli.files.locks import is_held
from coldstart_cli.files.plain_yaml import yaml_values
from coldstart_cli.files.sizes import n_bytes
from coldstart_cli.files.untrusted import Foreign, shaped
from coldstart_cli.metrics.numbers import is_known
from coldstart_cli.metrics.results import Interval, Summary
from coldstart_cli.runs.run import FAILURE, LOCK, Run
from coldstart_cli.runs.states import State


@final
@dataclass(frozen=True, kw_only=True)
class Listed:
    """A run as it is listed.

    Attributes:
        why: it failed, or is broken.
        names: strategy, dataset and model; empty where they cannot be read.
        evaluations: their names, the newest first.
        summary: of the newest.
        seconds: of training.
        started: in seconds since 1970; None where that is not known.
        n_bytes: of its files; links are not followed.
        command: what continues it, or finds it finished; empty where that is not known.
    """

    path: Path
    state: State
    why: str = ""
    names: Mapping[str, str]
    seed: int | None
    evaluations: tuple[str, ...] = ()
    summary: Summary | None = None
    seconds: float | None
    started: float | None
    n_bytes: int
    command: str

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Its config as flat keys; empty where it cannot be read."""
        try:
            with shaped("run", self.path):
                return flat(Run(self.path).config)
        except RequestError:
            return {}

    @property
    def headline(self) -> tuple[int, Interval] | None:
        """The largest k, and the headline there on new tasks."""
        if self.summary is None or not self.summary.shots:
            return None
        k = max(self.summary.shots)
        return k, self.summary.shots[k].new.after

    def place(self) -> tuple[str, float]:
        """What sorts the best first: each metric by itself, and last what has none."""
        if self.summary is None or self.headline is None or not is_known(self.headline[1].mean):
            return "~", 0.0
        mean = self.headline[1].mean
        return self.summary.headline, -mean if self.summary.higher_is_better else mean


def listed(path: Path) -> Listed:
    """One run directory; what is wrong with it is its state."""
    run = Run(path)
    try:
        with shaped("run", path):
            return _whole(run)
    except RequestError as error:
        return _broken(run, str(error))


def _whole(run: Run) -> Listed:
    """A run whose files are as they should be.

    Raises:
        RequestError, LookupError, TypeError, ValueError: where they are not.
    """
    facts, evaluations = run.state, run.evaluations()
    environment = read_json(run.path / "environment.json", "run")
    state = _state(run, facts["state"], evaluated=bool(evaluations))
    summary = run.summary(evaluations[0]) if evaluations else None
    config = run.config if summary is None else {}
    seconds = facts.get("seconds")
    return Listed(
        path=run.path,
        state=state,
        why=str(read_json(run.path / FAILURE, "run")["reason"]) if state == "failed" else "",
        names=_names(config["names"] if summary is None else asdict(summary.names)),
        seed=int(config["seed"]) if summary is None else summary.seed,
        evaluations=evaluations,
        summary=summary,
        seconds=None if seconds is None else float(seconds),
        started=_started(run.path),
        n_bytes=n_bytes(run.path),
        command=shlex.join(map(str, environment.get("command_line", ()))),
    )


def _broken(run: Run, why: str) -> Listed:
    """A run of which something cannot be read, with what can."""
    names, seed, command = {}, None, ""
    try:
        with shaped("run", run.path):
            names, seed = _names(run.config["names"]), int(run.config["seed"])
            environment = read_json(run.path / "environment.json", "run")
            command = shlex.join(map(str, environment.get("command_line", ())))
    except RequestError:
        pass
    return Listed(
        path=run.path, state="broken", why=why, names=names, seed=seed, seconds=None,
        started=_started(run.path), n_bytes=n_bytes(run.path), command=command,
    )  # fmt: skip


def _state(run: Run, told: object, *, evaluated: bool) -> State:
    if told not in ("finished", "unfinished"):
        raise RequestError(
            f"run: {run.path / 'run.json'} has no state that is known; train again with again=true"
        )
    if told == "finished" and evaluated:
        return "finished"
    if is_held(run.path / LOCK):
        return "running"
    if (run.path / FAILURE).is_file():
        return "failed"
    return "trained" if told == "finished" else "stopped"


def _names(names: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(names[key]) for key in ("strategy", "dataset", "model")}


def _started(path: Path) -> float | None:
    """When environment.json was written, which is when the training began."""
    try:
        return (path / "environment.json").stat().st_mtime
    except OSError:
        return None


def passing(runs: Sequence[Listed], filters: Mapping[str, Sequence[str]]) -> list[Listed]:
    """The runs that have, of every key, one of its values.

    Args:
        filters: strategy, dataset, model, state, seed, or a key of the config -> values as they are typed.

    Raises:
        RequestError: for a key that no run has.
    """
    found = list(runs)
    # Those that need no config first: then fewer are read
    for key, values in sorted(filters.items(), key=lambda item: "." in item[0]):
        known = set().union(*(_facts(run).keys() for run in runs))
        if key not in known and runs:
            known = known.union(*(run.settings.keys() for run in runs))
            if key not in known:
                raise RequestError(f"{key}: no run here has such a key; {suggestion(key, known)}")
        found = [run for run in found if _has(run, key, values)]
    return found


def sorted_by(runs: Sequence[Listed], key: str) -> list[Listed]:
    """The newest, the best, the longest or the largest first; what has no such value comes last."""
    if key == "accuracy":
        return sorted(runs, key=lambda run: run.place())
    values: Mapping[str, Callable[[Listed], float | None]]
    values = {"started": lambda r: r.started, "seconds": lambda r: r.seconds, "size": lambda r: r.n_bytes}
    return sorted(runs, key=lambda run: -(values[key](run) or 0.0))


def _facts(run: Listed) -> dict[str, str]:
    return {**run.names, "state": run.state, "seed": str(run.seed)}


def _has(run: Listed, key: str, values: Sequence[str]) -> bool:
    facts = _facts(run)
    if key in facts:
        return facts[key] in values
    return key in run.settings and any(_equal(run.settings[key], value) for value in values)


def _equal(value: object, typed: str) -> bool:
    """Whether a value is the one that is typed, as YAML would read it: 0.40 is .4, null is nothing."""
    try:
        return bool(yaml_values(typed) == value)
    except Foreign:
        return str(value) == typed
