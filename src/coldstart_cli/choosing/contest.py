"""What every entrant says of the same held-out labels: how they are dealt within the time, and kept."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coldstart_cli.bundles.adapting.held_out_rows import scores_of
from coldstart_cli.bundles.adapting.settling import chosen_steps
from coldstart_cli.bundles.judging.held_out_labels import Answers, Rehearsal, Told
from coldstart_cli.choosing.entrants import Entrant
from coldstart_cli.digests import json_digest
from coldstart_cli.experiment.parts import preprocess_of
from coldstart_cli.files.durable import write_bytes
from coldstart_cli.models.pretrained.features import files_read
from coldstart_cli.training.inner_loop import canonical_order

FEWER = ((8, 1), (5, 1), (4, 1), (3, 1), (2, 1))
"""Folds and repeats that take less time, the best first."""
LEAST = 0.1
"""Share of the time that judging has, whatever building and timing the candidates took: most take none."""
FORMAT = 1
"""Of the files in which answers are kept."""


@dataclass(frozen=True, slots=True)
class Deal:
    """In how many folds the labels are dealt, and how often."""

    n_folds: int
    n_repeats: int


@dataclass(frozen=True, slots=True)
class Judged:
    """An entrant and what it says of the held-out labels; None where none can be held out."""

    entrant: Entrant
    answers: Answers | None


def dealt(
    entrants: Sequence[Entrant], allowed: float, spent: float
) -> tuple[Deal, list[Entrant], dict[str, str]]:
    """The most folds for which the time suffices, those who take part, and why others do not.

    All are judged in the same folds, or their answers could not be compared example by example. Where the
    time does not suffice for the fewest folds, the slowest is left out.

    Args:
        allowed: seconds for all.
        spent: seconds of them that entering took, which the same command takes again.
    """
    seconds = max(allowed - spent, LEAST * allowed)
    plan = entrants[0].composed.plan
    whole = Deal(plan.folds_to_estimate, plan.repeats_to_estimate)
    options = [whole, *(Deal(*fewer) for fewer in FEWER if fewer[0] <= whole.n_folds)]
    left, left_out = sorted(entrants, key=lambda e: e.cost(2, 1)), dict[str, str]()
    while True:
        # The winner adapts to all labels once more; it may be the slowest.
        last = left[-1].seconds
        for deal in options:
            foretold = sum(entrant.cost(deal.n_folds, deal.n_repeats) for entrant in left) + last
            if foretold <= seconds or (len(left) == 1 and deal == options[-1]):
                kept = [entrant for entrant in entrants if entrant in left]
                return deal, kept, left_out
        slowest = left.pop()
        minutes = (slowest.cost(2, 1) + slowest.seconds) / 60
        left_out[slowest.name] = (
            f"two folds would take about {minutes:.1f} minutes with {100 * slowest.core:.0f} % of a core, as "
            f"now, and {seconds / 60:.1f} are left; "
            f"give time_minutes={round(spent / 60 + 2 * minutes + 1)}"
        )


def judged(entrants: Sequence[Entrant], deal: Deal, folder: Path, told: Told) -> list[Judged]:
    """The answers of all, those that an earlier command has kept in `folder` among them."""
    first = entrants[0].ready.support
    order = canonical_order(first) if len(first) else torch.zeros(0, dtype=torch.int64)
    return [Judged(entrant, _answers(entrant, deal, order, folder, told)) for entrant in entrants]


def scores(judges: Sequence[Judged]) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """(n, n_entrants) of each held-out example, the mean over repeats, and the cluster of each.

    Of an answer in classes 1 where it is right, else 0; of one in reals minus its squared error. None where
    nothing can be held out.
    """
    columns = []
    for one in judges:
        if one.answers is None:
            return None
        names, found = scores_of(one.answers)
        columns.append(found if one.answers.targets.ndim == 1 else -found)
    answers = judges[0].answers
    assert answers is not None
    return np.stack(columns, 1), answers.together.clusters[names]


def _answers(entrant: Entrant, deal: Deal, order: torch.Tensor, folder: Path, told: Told) -> Answers | None:
    composed, ready = entrant.composed, entrant.ready
    rehearsal = Rehearsal(
        ready.strategy, ready.support, ready.together, partial(_named, told, entrant.name), order
    )
    path = folder / f"{_identity(entrant, deal)}.npz"
    if (kept := _read(path, rehearsal)) is not None:
        return kept

    def step(part: Rehearsal) -> int:
        return chosen_steps(part, ready.candidates, composed.plan, composed.run)[0]

    found = rehearsal.answers(step, deal.n_folds, deal.n_repeats)
    if found is not None:
        _write(path, found)
    return found


def _named(told: Told, name: str, what: str, done: int, total: int) -> None:
    told(f"judging {name}", done, total)


def _identity(entrant: Entrant, deal: Deal) -> str:
    """A digest of all that its answers depend on."""
    composed, ready = entrant.composed, entrant.ready
    config: Mapping[str, Any] = composed.config
    preprocess = preprocess_of(config["model"], "model", config["trust"])
    files = files_read(config["model"], preprocess, ready.strategy)
    return json_digest(
        {
            "format": FORMAT,
            "data": ready.task.fingerprint,
            **{key: config[key] for key in ("strategy", "model", "optimizer", "seed", "trust")},
            "run": None if composed.run is None else str(composed.run.path.resolve()),
            "files": None if files is None else list(files.contents),
            "steps": list(ready.candidates),
            "folds": [deal.n_folds, deal.n_repeats, composed.plan.folds_to_select],
        }
    )


def _write(path: Path, answers: Answers) -> None:
    stream = io.BytesIO()
    arrays: dict[str, NDArray[Any]] = {} if answers.centroid is None else {"centroid": answers.centroid}
    arrays["outputs"], arrays["targets"] = answers.outputs.numpy(), answers.targets.numpy()
    arrays["examples"], arrays["folds"] = answers.examples, answers.folds
    np.savez(stream, allow_pickle=False, dealt=np.array([answers.n_folds, answers.n_repeats]), **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, stream.getvalue())


def _read(path: Path, rehearsal: Rehearsal) -> Answers | None:
    """What was kept; None where nothing was, or it is damaged: it is then made again."""
    try:
        with np.load(path, allow_pickle=False) as found:
            n_folds, n_repeats = map(int, found["dealt"])
            return Answers(
                torch.from_numpy(found["outputs"]),
                torch.from_numpy(found["targets"]),
                found["examples"],
                found["folds"],
                found.get("centroid"),
                n_folds,
                n_repeats,
                rehearsal.together,
                rehearsal.order,
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
