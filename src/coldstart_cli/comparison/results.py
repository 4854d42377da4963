"""Run directories read back: the finished evaluations below some folders, whole or left out by name."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import read_json
from coldstart_cli.files.regular import opened
from coldstart_cli.files.untrusted import DECODER, shaped
from coldstart_cli.runs.run import Run, read_config

Record = Mapping[str, Any]

COLUMNS = ("role", "split", "k_shot", "task", "task_hash", "step", "value")
"""What a record must hold to be compared."""
DEPTH = 3
"""How far below a named folder a run directory may lie."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that cannot be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """One evaluation of one finished run.

    Attributes:
        training: the run's config.
        config: of the evaluation: the same but for what `evaluate` changed.
        records: of new and held-out source tasks; of validation tasks too where the run is a baseline.
    """

    path: Path
    evaluation: str
    written: float
    training: Mapping[str, Any]
    config: Mapping[str, Any]
    state: Mapping[str, Any]
    environment: Mapping[str, Any]
    summary: Mapping[str, Any]
    records: Sequence[Record]

    @property
    def names(self) -> Mapping[str, Any]:
        names: Mapping[str, Any] = self.config["names"]
        return names

    @property
    def seed(self) -> int:
        return int(self.config["seed"])


def read(paths: Sequence[Path]) -> tuple[list[Result], list[LeftOut]]:
    """All evaluations of the runs at, and below, some folders; the newest first within a run.

    Raises:
        RequestError: where a path is not a folder, or nothing that was named holds a readable evaluation.
    """
    results: list[Result] = []
    left_out: list[LeftOut] = []
    for run in run_directories(paths):
        try:
            with shaped("compare", run):
                results += _evaluations(run)
        except RequestError as error:
            left_out.append(LeftOut(str(run), str(error)))
    if not results:
        named = ", ".join(map(str, paths))
        why = f" ({left_out[0].reason})" if left_out else ""
        raise RequestError(
            f"compare: {named} holds no evaluated run{why}; name folders below outputs that "
            "coldstart train has finished"
        )
    return results, left_out


def run_directories(paths: Sequence[Path]) -> list[Path]:
    """The run directories among `paths` and below them, each once; those that a sweep's folder lists.

    Raises:
        RequestError: where a path is not a folder.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise RequestError(f"compare: {path} is not a folder; name run directories, or a folder of them")
        for run in sorted(_below(path, DEPTH)):
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _below(path: Path, depth: int) -> Iterator[Path]:
    if (path / "run.json").exists():
        yield path
        return
    if (path / "runs.json").exists():
        for row in read_json(path / "runs.json", "compare")["runs"]:
            if row.get("path") and (listed := _listed(path, row["path"])) is not None:
                yield listed
        return
    if depth > 0:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _below(Path(entry.path), depth - 1)


def _listed(sweep: Path, text: str) -> Path | None:
    """A run that a sweep lists, relative to where the sweep was started or to the outputs it lies in."""
    for candidate in (Path(text), sweep / text, sweep.parent.parent / Path(text).name):
        if (candidate / "run.json").exists():
            return candidate
    return None


def _evaluations(path: Path) -> list[Result]:
    run = Run(path)
    state = run.state
    folder = path / "evaluations"
    names = (
        sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        if (folder.is_dir())
        else []
    )
    if not names:
        raise RequestError(f"{path}: has no evaluation; repeat its coldstart train command")
    environment = read_json(path / "environment.json", "compare")
    results = []
    for name in names:
        place = run.evaluation(name)
        config = read_config(place / "config.yaml")
        summary = read_json(place / "summary.json", "compare")
        if not {"names", "headline", "shots", "costs"} <= summary.keys():
            raise RequestError(f"{place / 'summary.json'}: is of an unknown format; evaluate the run again")
        # Summaries of format 1 do not say it; they knew these two metrics.
        summary.setdefault("higher_is_better", summary["headline"] == "accuracy")
        records = _records(place / "records.jsonl", everything=config["names"]["strategy"] == "scratch")
        written = (place / "summary.json").stat().st_mtime
        results.append(Result(path, name, written, run.config, config, state, environment, summary, records))
    return sorted(results, key=lambda result: -result.written)


def _records(path: Path, *, everything: bool) -> list[Record]:
    """The rows, without those of validation tasks unless `everything` is asked for: they are many."""
    rows: list[Record] = []
    try:
        with opened(path) as stream, io.TextIOWrapper(stream, encoding="utf-8") as lines:
            for line in lines:
                if everything or '"split": "validation"' not in line:
                    rows.append(DECODER.decode(line))
    except FileNotFoundError as error:
        raise RequestError(f"{path}: is missing; evaluate the run again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path}: is damaged; evaluate the run again with again=true") from error
    columns = set(COLUMNS)
    for row in rows:
        if not (isinstance(row, dict) and row.keys() >= columns and _is_value(row["value"])):
            raise RequestError(f"{path}: is of an unknown format; evaluate the run again with again=true")
    if not rows:
        raise RequestError(f"{path}: holds no records; evaluate the run again with again=true")
    return rows


def _is_value(value: object) -> bool:
    """None where what was measured is not finite."""
    return value is None or (isinstance(value, int | float) and math.isfinite(value))
