"""Run directories read back: the finished evaluations below some folders, whole or left out by name."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldstart_cli.comparison.findings import LeftOut
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import read_json
from coldstart_cli.files.regular import opened
from coldstart_cli.files.untrusted import DECODER, shaped
from coldstart_cli.metrics.records import Record, record_of
from coldstart_cli.metrics.results import Summary, summary_of
from coldstart_cli.runs.places import run_directories
from coldstart_cli.runs.run import Run, read_config


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
    for run in run_directories(paths, "compare"):
        try:
            with shaped("compare", run):
                results += _evaluations(run)
        except RequestError as error:
            left_out.append(LeftOut(str(run), str(error).removeprefix(f"{run}: ")))
    if not results:
        named = ", ".join(map(str, paths))
        why = f" ({left_out[0].reason})" if left_out else ""
        raise RequestError(
            f"compare: {named} holds no evaluated run{why}; name folders below outputs that "
            "coldstart train has finished"
        )
    return _with_raw_hashes(results), left_out


def _with_raw_hashes(results: list[Result]) -> list[Result]:
    """Rows of versions that wrote no raw hash get that of a row with the same task hash, if there is one."""
    rows = [row for result in results for row in result.records]
    known = {row.task_hash: row.raw_hash for row in rows if row.raw_hash is not None}
    if not known or all(row.raw_hash is not None for row in rows):
        return results

    def named(row: Record) -> Record:
        raw = known.get(row.task_hash) if row.raw_hash is None else None
        return row if raw is None else replace(row, raw_hash=raw)

    return [replace(result, records=list(map(named, result.records))) for result in results]


def _evaluations(path: Path) -> list[Result]:
    run = Run(path)
    state = run.state
    names = run.evaluations()
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
        written, found = run.written(name), summary_of(summary)
        results.append(Result(path, name, written, run.config, config, state, environment, found, records))
    return results


def _records(path: Path, *, everything: bool) -> list[Record]:
    """The rows, without those of validation tasks unless `everything` is asked for: they are many."""
    rows: list[Record] = []
    try:
        with opened(path) as stream, io.TextIOWrapper(stream, encoding="utf-8") as lines:
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
    if not isinstance(found.task_hash, str) or not isinstance(found.raw_hash, str | None):
        raise TypeError("a hash is not a text")
    if not isinstance(found.value, int | float) or math.isinf(found.value):  # JSON reads 1e999 as infinite
        raise TypeError(f"{found.value!r:.40} is not a number")
    return found
