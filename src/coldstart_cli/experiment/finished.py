"""The same command again: a finished run's answer without Hydra, torch or reading the data.

A run is named by its composed config and by the content of its data, which take seconds to compute. A
`train` that ends therefore leaves a note in the cache folder: this command, with these configs, this code and
these files, is that run. The note is valid as long as all of them are unchanged in size, times and inode
(`caching.signature`) and the run is still there, finished. Where anything else could change the answer, no
note is left, and the command takes the long way.
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
    """The outcome of a `train` or `evaluate`.

    Attributes:
        evaluation: the name of the evaluation in the run; empty where none was requested.
        found: whether it was already there, finished.
        line: its headline, for a sweep's table.
    """

    path: Path
    evaluation: str
    found: bool
    line: str


_KEPT = 4 << 20
_RESOLVED = re.compile(rb"\$\{\s*[\w.]+\s*:")
"""An interpolation that computes a value, such as ${oc.env:HOME}; our own configs have only Hydra's."""


def key(overrides: Sequence[str], config_dirs: Sequence[str]) -> str | None:
    """A name for a command, from all that its config is composed of and the machine; None if not known.

    Raises:
        RequestError: where one of `config_dirs` is not a folder.
    """
    chosen = [override.lstrip("+~") for override in overrides]
    # Interpolations and Hydra's own words can give another config each time; `again` asks for a new run.
    if any("$" in o or o.startswith(("hydra", "again")) for o in chosen):
        return None
    conf = packaged_conf()
    foreign = [root for root in catalog.search_roots(config_dirs) if root != conf]
    parts = [signature([ROOT], (".py",)), signature([conf], (".yaml",)), _contents(foreign)]
    if None in parts:
        return None
    # What decides about device and threads, and so about the numbers of an evaluation.
    visible = {n: v for n, v in os.environ.items() if n.startswith(("COLDSTART_", "CUDA_", "HIP_", "OMP_"))}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [os.cpu_count()]
    machine = [platform.node(), cores, sorted(glob.glob("/dev/nvidia*")), sorted(visible.items())]
    facts = [__version__, sys.prefix, os.getcwd(), list(overrides), parts, machine]
    return digest([json.dumps(facts)], 32)


def answered(name: str, *, show: Show) -> Outcome | None:
    """Shows the result of the command `name` if its run is finished and nothing has changed since.

    Raises:
        JobError: as `finished_run.show` does.
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
    """The files that a data set reads, with their signature; None where a class of the user's own reads them.

    To be called before they are read. They are all values of its config that exist as paths, the folders of
    pretrained models, and runs that a strategy starts from. A data set that names none is computed, or
    downloaded into the cache folder and checked against published digests at every load.
    """
    if not str(config["dataset"].get("_target_")).startswith("coldstart_cli."):
        return None
    # Any text may be a path; those that exist are taken, and one too many only costs a look.
    values = {os.path.expanduser(value) for value in _strings(config["dataset"]) if value}
    values |= set(_strings(config["strategy"])) | _models(config["model"]) | _models(config["strategy"])
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
    """Leaves the note that `answered` reads; where it cannot be written, only time is lost."""
    budget = dict(config["evaluation"]["budget"])
    of_package = str(budget.pop("_target_", "")).startswith("coldstart_cli.")
    with contextlib.suppress(RequestError, OSError, ValueError):
        # A run measured elsewhere is shown with a remark on its times, which a note would suppress.
        measured_on = Run(run).summary(evaluation).hardware
        if config["again"] or not of_package or measured_on != from_json(HardwareFacts, dict(hardware)):
            return
        path = _path(name)
        path.parent.mkdir(exist_ok=True)
        places, seen = files
        note = {"run": str(run), "evaluation": evaluation, "budget": budget}
        of_run = _signature_of(run)
        write_json(path, {**note, "places": places, "signature": seen, "run_signature": of_run})
        keep_newest(path.parent, "*.json", _KEPT)


def _note(name: str) -> dict[str, Any] | None:
    """The note of a command, or None where there is no valid one."""
    with contextlib.suppress(RequestError, OSError, ValueError, KeyError, TypeError):
        note: dict[str, Any] = json.loads(_path(name).read_text(encoding="utf-8"))
        as_it_was = signature([Path(place) for place in note["places"]]) == note["signature"]
        if as_it_was and _signature_of(Path(note["run"])) == note["run_signature"]:
            return note
    return None


def _signature_of(run: Path) -> str | None:
    """Of what a run writes once, when it begins: another run may have been copied over it."""
    return signature([run / "config.yaml", run / "environment.json"])


def _models(node: object) -> set[str]:
    """The folders of the pretrained models and adapters that a node names, as far as they are there."""
    if isinstance(node, list):
        return {place for item in node for place in _models(item)}
    if not isinstance(node, Mapping):
        return set()
    found = {place for item in node.values() for place in _models(item)}
    for path in (node.get("path"), node.get("adapter")):
        if not isinstance(path, str):
            continue
        from coldstart_cli.models.pretrained.hf import (
            folder_of,  # it imports torch, which has been needed by now
        )

        with contextlib.suppress(ValueError, RequestError):
            found.add(str(folder_of(path)))
    return found


def _path(name: str) -> Path:
    return cache_folder() / "finished" / f"{name}.json"


def _contents(roots: Sequence[Path]) -> str | None:
    """A digest of configs outside the package; None where one of them computes a value."""
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
