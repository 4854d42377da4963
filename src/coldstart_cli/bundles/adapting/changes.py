"""What changes when a bundle is adapted again: its rows, its classes, its accuracy, its inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.bundles.judging.held_out_labels import Together
from coldstart_cli.bundles.kept import folder as folders
from coldstart_cli.bundles.kept.card import CARD, Card, Changed
from coldstart_cli.bundles.kept.kept_rows import KeptRows
from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import flat
from coldstart_cli.metrics.drift import Drift, drift
from coldstart_cli.metrics.held_out import difference, mean_difference

CONFIDENCE = 0.95
WIDTH = 256
"""Of the random projection by which token counts are compared."""
NO_ROWS = "the earlier version keeps no hashes of its rows, as an older coldstart made it"


@dataclass(frozen=True, slots=True)
class Earlier:
    """The bundle whose place another one is to take; `rows`: None in one that an older coldstart made."""

    card: Card
    rows: KeptRows | None


def earlier_in(folder: Path) -> Earlier | None:
    """The bundle that a folder holds, or None.

    Raises:
        RequestError: where there is one that cannot be read.
    """
    if not (folder / CARD).exists():
        return None
    try:
        found = folders.read(folder, lambda contents: contents)
        rows = found.rows and KeptRows.from_bytes(found.rows, len(found.card.labels))
    except RequestError as error:
        raise RequestError(
            f"bundle: {folder} is there and cannot be kept as an earlier version ({error}); name another "
            "folder, or replace it (overwrite=true)"
        ) from error
    return Earlier(found.card, rows or None)


def check_same_task(earlier: Earlier, labelled: Labelled, folder: str) -> None:
    """
    Raises:
        RequestError: where the bundle in the folder is one of something else, which a slip would put away.
    """
    card = earlier.card
    layout, now = card.build.recipe.get("layout"), labelled.recipe.get("layout")
    why = None
    if layout != now:
        why = f"it reads {layout}, these data are {now}"
    elif bool(card.labels) != bool(labelled.classes):
        why = f"it answers with {'classes' if card.labels else 'reals'}, these data do not"
    elif card.labels and not {*card.labels} & {*labelled.classes}:
        why = f"it knows none of these classes, but {card.labels[0]!r:.40} and others"
    if why is not None:
        raise RequestError(
            f"bundle: {folder} is a bundle of another task ({why}); name another folder, or replace it "
            "(overwrite=true) (E41)"
        )


def changed(earlier: Earlier, labelled: Labelled, rows: KeptRows, together: Together, metric: str) -> Changed:
    """What is not as it was.

    Args:
        rows: of `labelled`.
        together: of the same examples, in their order.
        metric: the headline.
    """
    names, was = labelled.classes, earlier.card.labels
    found = Changed(
        since=earlier.card.version,
        metric=metric,
        classes_added=tuple(name for name in names if name not in was),
        classes_removed=tuple(name for name in was if name not in names),
    )
    if earlier.rows is None:
        return replace(found, untold=NO_ROWS)
    old = earlier.rows
    before, after = Counter(old.contents.tolist()), Counter(rows.contents.tolist())
    at = _same_rows(old.contents, rows.contents)
    same = np.flatnonzero(at >= 0)
    called = _labels(old.labels[at[same]], was), _labels(rows.labels[same], names)
    renamed = _renamed(found, zip(*called, strict=True)) if names else {}
    found = replace(
        found,
        classes_renamed=tuple(renamed.items()),
        classes_added=tuple(name for name in found.classes_added if name not in renamed.values()),
        classes_removed=tuple(name for name in found.classes_removed if name not in renamed),
    )
    was = tuple(renamed.get(name, name) for name in was)
    other = _labels(old.labels[at[same]], was) != _labels(rows.labels[same], names)
    shift, untold = _inputs(labelled, at >= 0)
    found = replace(
        found,
        added=(after - before).total(),
        removed=(before - after).total(),
        relabelled=int(other.sum()),
        drift=shift,
        untold=untold,
    )
    return _judged(found, old, was, rows, at, names, together)


def _renamed(found: Changed, both: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Classes by the name that all their rows have now, where neither name is known to the other version.

    Args:
        both: of rows that are in both versions, what their classes were and are called.
    """
    now_of: dict[str, set[str]] = {}
    was_of: dict[str, set[str]] = {}
    for was, now in both:
        now_of.setdefault(was, set()).add(now)
        was_of.setdefault(now, set()).add(was)
    sure = {was: next(iter(now)) for was, now in now_of.items() if len(now) == 1}
    gone, new = {*found.classes_removed}, {*found.classes_added}
    return {was: now for was, now in sure.items() if was in gone and now in new and len(was_of[now]) == 1}


def adapted_otherwise(card: Card, config: Mapping[str, Any]) -> tuple[str, ...]:
    """What adapts otherwise than in the bundle of a card: names of strategy and model, and their settings."""
    lines = []
    for part, before in (("strategy", card.build.strategy), ("model", card.build.model)):
        named, now = getattr(card, part), config["names"][part]
        if named != now:
            lines.append(f"{part} {named} before, {now} now")
            continue
        earlier, today = flat(before), flat(config[part])
        lines += [
            f"{part}.{key} {earlier.get(key)} before, {today.get(key)} now"
            for key in {**earlier, **today}
            if earlier.get(key) != today.get(key)
        ]
    return tuple(lines)


def _same_rows(old: NDArray[np.uint64], new: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n_new,) the number of the earlier row that each is, or -1; of equal rows the first is the first."""
    places: dict[int, list[int]] = {}
    for number, content in enumerate(old.tolist()):
        places.setdefault(content, []).append(number)
    taken = [waiting.pop(0) if (waiting := places.get(content)) else -1 for content in new.tolist()]
    return np.array(taken, dtype=np.int64)


def _labels(numbers: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.object_]:
    """What they are called, for the numbers of classes are not those of before; of reals the hashes."""
    named = [names[number] for number in numbers.tolist()] if names else numbers.tolist()
    return np.array(named, dtype=object)


def _judged(
    known: Changed,
    old: KeptRows,
    was: Sequence[str],
    rows: KeptRows,
    at: NDArray[np.int64],
    names: Sequence[str],
    together: Together,
) -> Changed:
    """With the metric of both on the rows that both held out, by the labels of today.

    Args:
        was: names of the earlier version's classes, as they are called today.
    """
    both = np.flatnonzero((at >= 0) & rows.judged & np.where(at >= 0, old.judged[at], False))
    if not names:  # of reals no error by another target is known
        both = both[old.labels[at[both]] == rows.labels[both]]
    if not len(both):
        return known
    groups = (together.alike[both], together.clusters[both])
    if names:
        true = _labels(rows.labels[both], names)
        first = _right(old.answers[at[both]], was, true)
        second = _right(rows.answers[both], names, true)
        found = difference(first, second, groups, confidence=CONFIDENCE)
    else:
        first, second = old.errors[at[both]], rows.errors[both]
        found = mean_difference(second - first, groups[1], CONFIDENCE)
    low, high = (found.low, found.high) if np.isfinite(found.low) else (None, None)
    return replace(
        known,
        judged=len(both),
        before=float(first.mean()),
        after=float(second.mean()),
        low=low,
        high=high,
    )


def _right(
    answers: NDArray[np.int32], names: Sequence[str], true: NDArray[np.object_]
) -> NDArray[np.float64]:
    """(n,) the share of right answers over the repeats that asked."""
    asked = answers >= 0
    said = np.array([*names, None], dtype=object)[answers]  # -1: the last
    return np.asarray(((said == true[:, None]) & asked).sum(1) / asked.sum(1), dtype=np.float64)


def _inputs(labelled: Labelled, known: NDArray[np.bool_]) -> tuple[Drift | None, str | None]:
    """How far added inputs lie from earlier ones of the same classes, or why that cannot be told."""
    if known.all():
        return None, None
    if not known.any():
        return None, "no row of the earlier version is among these"
    classes = labelled.targets.numpy() if labelled.classes else np.zeros(len(labelled), np.int64)
    found = drift(_vectors(labelled.inputs), ~known, classes.astype(np.int64))
    few = "classes with earlier and added rows have too few of them" if labelled.classes else "too few rows"
    return found, None if found is not None else few


def _vectors(inputs: Inputs) -> NDArray[np.float64]:
    """(n, d): features as they are; of tokens their counts, scaled to length 1 and projected at random.

    A projection keeps distances (Johnson and Lindenstrauss 1984), and a vocabulary has too many columns.
    """
    if isinstance(inputs, Tensor):
        return inputs.flatten(1).double().numpy()
    ids, mask = inputs["input_ids"].numpy(), inputs["attention_mask"].numpy().astype(bool)
    generator = np.random.default_rng(0)
    vocabulary, of = np.unique(ids, return_inverse=True)
    counts = np.zeros((len(ids), len(vocabulary)))
    np.add.at(counts, (np.arange(len(ids))[:, None], of.reshape(ids.shape)), mask)
    counts /= np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1.0)
    return np.asarray(counts @ generator.normal(size=(len(vocabulary), WIDTH)) / np.sqrt(WIDTH))
