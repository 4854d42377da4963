"""Run directories read back: the finished evaluations below some folders, whole or left out by name."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldstart_cli.comparison.findings import LeftOut
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import read_json
from coldstart_cli.files.untrusted import DECODER, shaped
from coldstart_cli.metrics.records import Record, record_of
from coldstart_cli.metrics.results import Summary, summary_of
from coldstart_cli.runs.run import Run, read_config

_log = logging.getLogger(__name__)

DEPTH = 3
"""How far below a named folder a run directory may lie."""


@dataclass(frozen=True, slots=True)
class Result:
    """One evaluation of one finished run.

    Attributes:
        evaluation: its name, a folder of the run's evaluations.
        written: when, in seconds since 1970.
        training: the run's config.
        config: of the evaluation: the same but for what `evaluate` changed.
        state, environment: run.json and environment.json.
        records: of new and held-out source tasks; of validation tasks too where the run is a baseline.
    """

    path: Path
    evaluation: str
    written: float
    training: Mapping[str, Any]
    config: Mapping[str, Any]
    state: Mapping[str, Any]
    environment: Mapping[str, Any]
    summary: Summary
    records: Sequence[Record]

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
        # One run may be reached by two names, as through a link or a sweep: the first is kept.
        if not path.is_dir():
            raise RequestError(f"compare: {path} is not a folder; name run directories, or a folder of them")
        for run in sorted(_below(path, DEPTH)):
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _below(path: Path, depth: int) -> Iterator[Path]:
    if (path / "run.json").exists():
        yield path
        return
    # The runs of a sweep lie beside its folder, not in it.
    if (path / "runs.json").exists():
        yield from _of_sweep(path)
        return
    if depth > 0:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _below(Path(entry.path), depth - 1)


def _of_sweep(sweep: Path) -> Iterator[Path]:
    """The runs that a sweep lists: those in the outputs that it lies in, however it came there.

    The paths that it lists are of where it was made. A copy that has lost a run beside it falls back on them,
    and says so: what is compared then is not all of the copy.
    """
    for row in read_json(sweep / "runs.json", "compare")["runs"]:
        if not row.get("path"):
            continue
        told = Path(row["path"])
        beside = sweep.resolve().parent.parent / told.name
        found = next((p for p in (beside, sweep / told, told) if (p / "run.json").exists()), None)
        if found == told and beside != told:
            _log.warning("%s: %s is not beside it; the run at %s is read", sweep, told.name, told.parent)
        if found is not None:
            yield sweep.parent.parent / told.name if found == beside else found
        elif row.get("state") == "done":
            _log.warning("%s: its run %s is not there any more and is left out", sweep, told.name)


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
        # Told apart from damage: a file of another program, or of a version that is not known.
        if not {"names", "headline", "shots", "costs"} <= summary.keys():
            raise RequestError(f"{place / 'summary.json'}: is of an unknown format; evaluate the run again")
        # Validation tasks choose among several runs of scratch (`standings.references_of`), and nothing else.
        records = _records(place / "records.jsonl", everything=config["names"]["strategy"] == "scratch")
        written = (place / "summary.json").stat().st_mtime
        results.append(
            Result(path, name, written, run.config, config, state, environment, summary_of(summary), records)
        )
    return sorted(results, key=lambda result: -result.written)


def _records(path: Path, *, everything: bool) -> list[Record]:
    """The rows, without those of validation tasks unless `everything` is asked for: they are many."""
    rows: list[Record] = []
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if everything or '"split": "validation"' not in line:
                    rows.append(_record(DECODER.decode(line)))
    except FileNotFoundError as error:
        raise RequestError(f"{path}: is missing; evaluate the run again") from error
    # A line that cannot be decoded is a ValueError; a value that is not a record lacks a key, or holds
    # another type.
    except (LookupError, TypeError, AttributeError) as error:
        raise RequestError(
            f"{path}: is of an unknown format; evaluate the run again with again=true"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path}: is damaged; evaluate the run again with again=true") from error
    if not rows:
        raise RequestError(f"{path}: holds no records; evaluate the run again with again=true")
    return rows


def _record(row: Any) -> Record:
    # Most of a row are its bins of confidence: the summary says what they said, and they would fill memory.
    row.pop("confidence_bins", None)
    found = record_of(row)
    if not isinstance(found.value, int | float) or math.isinf(found.value):  # JSON reads 1e999 as infinite
        raise TypeError(f"{found.value!r:.40} is not a number")
    return found
