"""Records of a baseline, measured once: all runs on the same task bank share the same baseline.

A baseline learns nothing from the source, so its records depend on its tasks, its initial weights, its
configuration, the steps that are scored, the code and the machine, but not on anything that a run learned.
Files in the cache folder are named by a digest of all of these; equal names hold equal records except for
times, which are those of the first measurement. A file appears whole or not at all, and is checked when read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from coldstart_cli import __version__
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Examples, Task
from coldstart_cli.digests import Part, digest, tensor_parts, whole_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.caching import cache_folder, keep_newest
from coldstart_cli.files.durable import write_bytes
from coldstart_cli.metrics.records import Score, score_of
from coldstart_cli.metrics.results import BaselineRead
from coldstart_cli.package import ROOT
from coldstart_cli.processes import ranks

Scores = list[Score]

MOST_BYTES = 256 << 20
"""The most that all files together may take; the least recently used ones are removed first."""


@final
class Baselines:
    """Baselines that other runs have measured, which a run may read and add to.

    Args:
        variants: variant -> config of the baseline.
        model: config of its model.
        facts: what else the records depend on: seed, hardware, vectorize.
    """

    def __init__(
        self, variants: Mapping[str, Mapping[str, Any]], model: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> None:
        self.variants, self.model, self.facts = variants, model, facts
        self.asked, self.read, self.oldest = 0, 0, ""

    @property
    def usable(self) -> bool:
        """False for the user's own classes: they may change while their configs do not."""
        targets = [t for node in (*self.variants.values(), self.model) for t in _targets(node)]
        return all(target.startswith("coldstart_cli.") for target in targets)

    def records(
        self,
        variant: str,
        strategy: Strategy,
        tasks: Callable[[], Iterable[Task]],
        asked: Mapping[str, Any],
        fresh: Callable[[], Iterator[Scores]],
    ) -> Iterator[Scores]:
        """The scores of each task, from the cache or `fresh`.

        Args:
            tasks: makes the tasks whose scores they are.
            asked: steps and everything else that determines scores.
        """
        self.asked += 1
        path = self._path(variant, strategy, tasks(), asked) if ranks.first() else None
        # One rank looks and tells the others: a file that appears in between must not divide them.
        kept = ranks.agreed(lambda: None if path is None else _read(path))
        if kept is not None:
            header, groups = kept
            self.read += 1
            self.oldest = min(self.oldest or header["measured"], header["measured"])
            yield from groups
            return
        measured, groups = datetime.now(UTC).isoformat(timespec="seconds"), []
        for scores in fresh():
            groups.append(scores)
            yield scores
        if path is not None:
            _write(path, {"measured": measured, "facts": dict(self.facts)}, groups)

    def summary(self) -> BaselineRead | None:
        """What a report says about cached records; None where none were read."""
        return BaselineRead(self.read, self.asked, self.oldest) if self.read else None

    def _path(
        self, variant: str, strategy: Strategy, tasks: Iterable[Task], asked: Mapping[str, Any]
    ) -> Path | None:
        """The file of these records, or None where not everything that they depend on is known."""
        node = [self.variants[variant], self.model, self.facts, asked, code()]
        parts: list[Part] = [json.dumps(node, sort_keys=True, default=str)]
        state = strategy.state_dict()
        if not all(isinstance(value, Tensor) for value in state.values()):
            return None
        # The initial weights themselves: what made them (seed, model, torch) need not be listed in full.
        parts += tensor_parts(state)
        known: dict[int, tuple[Examples, bytes]] = {}  # sets that tasks share are hashed once
        for task in tasks:
            if not type(task.support.objective).__module__.startswith("coldstart_cli."):
                return None
            if id(task.query) not in known:
                known[id(task.query)] = task.query, whole_digest(_parts(task.query))
            parts.append(whole_digest(_learned_from(task)))
            parts.append(known[id(task.query)][1])
        with contextlib.suppress(RequestError, OSError):
            folder = cache_folder() / "baselines"
            folder.mkdir(exist_ok=True)
            return folder / f"{digest(parts, 40)}.jsonl"
        return None


@cache
def code() -> str:
    """A digest of this package's source and of its libraries: other ones may give other numbers."""
    parts: list[Part] = [f"{__version__} {torch.__version__} {np.__version__}"]
    for path in sorted(ROOT.rglob("*.py")):
        parts += [f"{path.relative_to(ROOT).as_posix()}\0", path.read_bytes()]
    return digest(parts, 64)


def _read(path: Path) -> tuple[dict[str, Any], list[Scores]] | None:
    """Header and scores, or None where the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        first, _, rest = path.read_bytes().partition(b"\n")
        header: dict[str, Any] = json.loads(first)
        if header["sha256"] == digest([rest], 64) and isinstance(header["measured"], str):
            # Marks it as used, by which `keep_newest` decides.
            os.utime(path)
            return header, [[score_of(row) for row in json.loads(line)] for line in rest.splitlines()]
    return None


def _write(path: Path, header: Mapping[str, Any], groups: Sequence[Scores]) -> None:
    """Keeps the scores of each task, unless JSON would not give them back unchanged."""
    lines = [json.dumps([score.row() for score in scores]) for scores in groups]
    back = [[score_of(row) for row in json.loads(line)] for line in lines]
    # By repr, which writes floats exactly.
    if repr(back) != repr(list(groups)):  # and nan as nan, which is not equal to itself
        return
    body = "".join(f"{line}\n" for line in lines).encode()
    first = json.dumps({**header, "sha256": digest([body], 64)}).encode()
    with contextlib.suppress(RequestError, OSError):  # a full disk must not end the run
        write_bytes(path, first + b"\n" + body)
        keep_newest(path.parent, "*.jsonl", MOST_BYTES)


def _learned_from(task: Task) -> Iterator[Part]:
    """Everything that adaptation sees of a task."""
    support = task.support
    yield f"{task.name} {support.objective!r} {support.seed}"
    yield from _parts(support)
    further_sets = {
        "unlabelled": support.unlabelled,
        "source_classes": support.source_classes,
        "names": support.names,
    }
    for name, further in further_sets.items():
        yield name
        if further is not None:
            yield from tensor_parts(further)


def _parts(examples: Examples) -> Iterator[Part]:
    yield from tensor_parts(examples.inputs)
    yield from tensor_parts(examples.targets)


def _targets(node: object) -> Iterator[str]:
    """Every class that a config names."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)
