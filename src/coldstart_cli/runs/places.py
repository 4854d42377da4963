"""Where run directories lie: below folders that a user names, and those that a sweep lists."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import read_json

_log = logging.getLogger(__name__)

DEPTH = 3
"""How far below a named folder a run directory may lie."""


def run_directories(paths: Sequence[Path], key: str, *, sweeps: bool = True) -> list[Path]:
    """The run directories among `paths` and below them, each once; those that a sweep's folder lists.

    Args:
        key: what named the paths, for refusals.
        sweeps: also what sweeps below `paths` list, which may lie elsewhere; else of sweeps named themselves.

    Raises:
        RequestError: where a path is not a folder.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        # One run may be reached by two names, as through a link or a sweep: the first is kept.
        if not path.is_dir():
            raise RequestError(f"{key}: {path} is not a folder; name run directories, or a folder of them")
        for run in sorted(_below(path, DEPTH, key, sweeps=sweeps)):
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _below(path: Path, depth: int, key: str, *, sweeps: bool) -> Iterator[Path]:
    if (path / "run.json").exists():
        yield path
        return
    # The runs of a sweep lie beside its folder, not in it.
    if (path / "runs.json").exists():
        if sweeps or depth == DEPTH:
            yield from _of_sweep(path, key)
        return
    if depth > 0:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _below(Path(entry.path), depth - 1, key, sweeps=sweeps)


def _of_sweep(sweep: Path, key: str) -> Iterator[Path]:
    """The runs that a sweep lists: those in the outputs that it lies in, however it came there.

    The paths that it lists are of where it was made. A copy that has lost a run beside it falls back on them,
    and says so: what is compared then is not all of the copy.
    """
    for row in read_json(sweep / "runs.json", key)["runs"]:
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
