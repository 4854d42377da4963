"""The same command again: a finished run's answer without Hydra, torch or a look into the data.

A run is named by its composed config and by the content of its data, which take seconds to compute. So a
`train` that ends leaves a note in the cache folder: this command, with these configs, this code and these
files, is that run. The note counts while all of them are the same by size, times and inode
(`caching.signature`), and the run is where it was, finished. Where anything else could change the answer
there is no note, and the command takes the long way.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldstart_cli import __version__
from coldstart_cli.config import catalog
from coldstart_cli.digests import digest, whole_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.caching import cache_folder, keep_newest, signature
from coldstart_cli.files.durable import write_json
from coldstart_cli.files.regular import read_bytes
from coldstart_cli.metrics.budgets import Budget
from coldstart_cli.metrics.json_edge import from_json
from coldstart_cli.metrics.results import HardwareFacts
from coldstart_cli.package import ROOT, packaged_conf
from coldstart_cli.reports import finished_run
from coldstart_cli.reports.finished_run import Show
from coldstart_cli.runs.run import Run

Files = tuple[list[str], str]
"""Places that a data set's config names, and their signature."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a `train` or `evaluate` came to.

    Attributes:
        evaluation: the name of the evaluation in the run; empty where none was asked for.
        found: whether it was there before, finished.
        line: its headline, for a sweep's table.
    """

    path: Path
    evaluation: str
    found: bool
    line: str


_KEPT = 4 << 20
_RESOLVED = re.compile(rb"\$\{\s*[\w.]+\s*:")
"""An interpolation that computes, such as ${oc.env:HOME}; those of the package's own are Hydra's alone."""


def key(overrides: Sequence[str], config_dirs: Sequence[str]) -> str | None:
    """Names a command by all that its config is composed of, and the machine; None where that is not known.

    Raises:
        RequestError: where a folder of `config_dirs` is none.
    """
    chosen = [override.lstrip("+~") for override in overrides]
    if any("$" in o or o.startswith(("hydra", "again")) for o in chosen):
        return None
    conf = packaged_conf()
    foreign = [root for root in catalog.search_roots(config_dirs) if root != conf]
    parts = [signature([ROOT], (".py",)), signature([conf], (".yaml",)), _contents(foreign)]
    if None in parts:
        return None
    visible = {n: v for n, v in os.environ.items() if n.startswith(("COLDSTART_", "CUDA_", "HIP_", "OMP_"))}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [os.cpu_count()]
    machine = [platform.node(), cores, sorted(glob.glob("/dev/nvidia*")), sorted(visible.items())]
    facts = [__version__, sys.prefix, os.getcwd(), list(overrides), parts, machine]
    return digest([json.dumps(facts)], 32)


def answered(name: str, *, show: Show) -> Outcome | None:
    """Shows the result of the command `name` if its run is finished and nothing has changed since.

    Raises:
        JobError: as `showing.show`.
    """
    note = _note(name)
    if note is None:
        return None
    run, evaluation = Run(Path(note["run"])), str(note["evaluation"])
    if not run.finished or not (run.evaluation(evaluation) / "summary.json").exists():
        return None
    if show == "report":
        print(finished_run.FINISHED.format(run.path), file=sys.stderr)
    line = finished_run.show(run, evaluation, Budget(**note["budget"]), show=show)
    return Outcome(run.path, evaluation, found=True, line=line)


def files_of(config: Mapping[str, Any]) -> Files | None:
    """What a data set reads, to be taken before it does; None where a class of the user's own reads it.

    Places are all values of its config that are there. A data set that names none is computed, or
    downloaded into the cache folder and checked against published digests at every load.
    """
    if not str(config["dataset"].get("_target_")).startswith("coldstart_cli."):
        return None
    values = {os.path.expanduser(value) for value in _strings(config["dataset"]) if value}
    places = sorted(value for value in values if os.path.lexists(value))
    seen = signature([Path(place) for place in places])
    return None if seen is None else (places, seen)


def remember(
    name: str,
    files: Files,
    config: Mapping[str, Any],
    run: Path,
    evaluation: str,
    hardware: Mapping[str, object],
) -> None:
    """Leaves the note that `answered` reads; one that cannot be written costs nothing but time."""
    budget = dict(config["evaluation"]["budget"])
    of_package = str(budget.pop("_target_", "")).startswith("coldstart_cli.")
    with contextlib.suppress(RequestError, OSError, ValueError):
        measured_on = Run(run).summary(evaluation).hardware
        if config["again"] or not of_package or measured_on != from_json(HardwareFacts, dict(hardware)):
            return
        path = _path(name)
        path.parent.mkdir(exist_ok=True)
        places, seen = files
        note = {"run": str(run), "evaluation": evaluation, "budget": budget}
        write_json(path, {**note, "places": places, "signature": seen})
        keep_newest(path.parent, "*.json", _KEPT)


def _note(name: str) -> dict[str, Any] | None:
    """The note of a command, or None where there is none that counts."""
    with contextlib.suppress(RequestError, OSError, ValueError, KeyError, TypeError):
        note: dict[str, Any] = json.loads(_path(name).read_text(encoding="utf-8"))
        if signature([Path(place) for place in note["places"]]) == note["signature"]:
            return note
    return None


def _path(name: str) -> Path:
    return cache_folder() / "finished" / f"{name}.json"


def _contents(roots: Sequence[Path]) -> str | None:
    """A digest of configs that are not the package's; None where one of them computes a value."""
    parts: list[bytes] = []
    for root in roots:
        for path in sorted(root.rglob("*.yaml")):
            text = read_bytes(path)
            if _RESOLVED.search(text):
                return None
            parts += [os.fsencode(path.resolve()), b" ", whole_digest([text])]
    return digest(parts, 64)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
