"""`coldstart evaluate bundle=DIR input=LABELLED`: is the bundle right, where is it wrong, is the label?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.bundles.evaluating.evaluation import (
    Believed,
    Bin,
    ClassScore,
    Confusion,
    Doubt,
    Estimate,
    Evaluation,
    Guarantee,
    OfClasses,
    OfReals,
    Unknown,
)
from coldstart_cli.bundles.evaluating.labelled_input import Scored, read_scored, rows_at
from coldstart_cli.bundles.judging.held_out_labels import Together
from coldstart_cli.bundles.judging.temperature import probabilities
from coldstart_cli.bundles.rebuild import objective_of
from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.tasks import map_inputs
from coldstart_cli.datasets.own.input_range import shift_from
from coldstart_cli.datasets.readers.problems import OnBad
from coldstart_cli.errors import RequestError
from coldstart_cli.metrics import fresh
from coldstart_cli.metrics.held_out import ErrorInterval, ShareInterval, mean_error
from coldstart_cli.metrics.numbers import known

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle

CONFIDENCE = 0.95
SHARES = (1.0, 0.9, 0.8, 0.5)
"""Of the rows, those answered most surely, whose accuracy is told."""
CURVE = tuple(step / 20 for step in range(20, 0, -1))
"""The same, of a curve."""
AT_ONCE = 256
CHUNK = 1 << 14
"""Rows whose probabilities are held in double precision at once."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """Of n rows: logits, their labels as class numbers, the answers, how sure, and what counts once."""

    logits: Tensor
    targets: NDArray[np.int64]
    answers: NDArray[np.int64]
    sure: NDArray[np.float64]
    of_label: NDArray[np.float64]
    together: fresh.Together

    @property
    def right(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (self.answers == self.targets).astype(np.float64)
        return found


def evaluate(
    bundle: Bundle,
    path: str,
    *,
    label_column: str | None,
    precision: float | None,
    on_bad: OnBad,
) -> Evaluation:
    """Reads, answers and compares; all of it is linear in the rows.

    Args:
        path: a labelled file or folder of the bundle's layout.
        label_column: of the label, of a table's target, of an npz's y; None: as the bundle's own data had it.
        precision: that a threshold is to keep; None: no threshold is looked for.

    Raises:
        RequestError: for what cannot be read, or compared.
    """
    if precision is not None and not bundle.card.labels:
        raise RequestError("precision: the bundle answers with numbers; leave it out")
    found = read_scored(bundle, path, label_column, on_bad)
    labelled = found.labelled
    outputs = _outputs(bundle, found)
    if not outputs.isfinite().all():
        bad = int((~outputs.isfinite()).any(-1).sum())
        raise RequestError(
            f"input: the predictor's outputs for {bad:,} of {len(outputs):,} rows are no finite numbers; "
            "give values such as it was adapted to"
        )
    shift = shift_from(bundle.card.input_ranges, labelled.inputs)
    scored = np.flatnonzero(found.numbers >= 0) if bundle.card.labels else np.arange(len(labelled))
    together = Together.of(labelled.near_equal(), labelled.origins).take(scored)
    classes = reals = None
    if bundle.card.labels:
        classes = _of_classes(bundle, path, found, outputs, scored, together, precision)
    else:
        reals = _of_reals(bundle, labelled.targets, outputs, together)
    return Evaluation(
        bundle=str(bundle.path),
        input=path,
        rows=len(scored),
        different=len(np.unique(together.alike)),
        origins=len(np.unique(together.clusters)) if together.by_origin else None,
        classes=classes,
        reals=reals,
        said=(*found.said, *(() if shift is None else (f"input: {shift}",))),
    )


def _outputs(bundle: Bundle, found: Scored) -> Tensor:
    parts = []
    for start in range(0, len(found.labelled), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        parts.append(bundle.outputs(map_inputs(lambda t, part=part: t[part], found.labelled.inputs)))  # type: ignore[misc]
    return torch.cat(parts)


def _of_classes(
    bundle: Bundle,
    path: str,
    found: Scored,
    outputs: Tensor,
    scored: NDArray[np.int64],
    together: Together,
    precision: float | None,
) -> OfClasses:
    card = bundle.card
    one = _answered(outputs[torch.from_numpy(scored)], found.numbers[scored], together, card.temperature)
    groups, right = one.together, one.right
    guarantee = None
    if precision is not None:
        threshold = fresh.threshold_for(
            one.sure, right, groups, precision, confidence=CONFIDENCE, design_effect=1.0
        )
        guarantee = Guarantee(precision=precision, sure=CONFIDENCE, found=threshold)
    at_threshold = None
    if card.threshold > 0:
        at_threshold = fresh.answers_from(card.threshold, one.sure, right, groups, CONFIDENCE)
    return OfClasses(
        accuracy=_estimate(fresh.accuracy(right, groups, CONFIDENCE)),
        balanced_accuracy=_estimate(fresh.balanced_accuracy(one.targets, one.answers, groups, CONFIDENCE)),
        macro_f1=_estimate(fresh.macro_f1(one.targets, one.answers, groups, CONFIDENCE)),
        majority=float(np.bincount(one.targets).max()) / len(one.targets),
        classes=_class_scores(one, card.labels),
        confusion=_confusion(one, card.labels),
        calibrated=_believed(one, card.temperature),
        before=_believed(one, 1.0),
        coverage=tuple(fresh.answered(one.sure, right, groups, SHARES, CONFIDENCE)),
        curve=tuple(fresh.answered(one.sure, right, groups, CURVE, CONFIDENCE)),
        at_threshold=at_threshold,
        doubts=_doubts(bundle, path, found, one, scored),
        unknown=_unknown(found, one, outputs, card.temperature),
        guarantee=guarantee,
    )


def _answered(logits: Tensor, targets: NDArray[np.int64], together: Together, temperature: float) -> _Answers:
    sure, of_label = np.empty(len(targets)), np.empty(len(targets))
    for part, p in _in_parts(logits, temperature):
        sure[part] = p.max(1)
        of_label[part] = p[np.arange(len(p)), targets[part]]
    return _Answers(
        logits, targets, logits.argmax(-1).numpy(), sure, of_label, (together.alike, together.clusters)
    )


def _in_parts(logits: Tensor, temperature: float) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Probabilities (m, n_classes) of part of the rows at a time."""
    for start in range(0, len(logits), CHUNK):
        part = slice(start, start + CHUNK)
        yield part, probabilities(logits[part], temperature).numpy()


def _class_scores(one: _Answers, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    n = len(labels)
    rows, answers = np.bincount(one.targets, minlength=n), np.bincount(one.answers, minlength=n)
    hits = np.bincount(one.targets, one.right, minlength=n)

    def share(part: float, whole: int) -> float | None:
        return float(part) / int(whole) if whole else None

    return tuple(
        ClassScore(
            label=label,
            rows=int(rows[c]),
            answers=int(answers[c]),
            recall=share(hits[c], rows[c]),
            precision=share(hits[c], answers[c]),
            f1=share(2 * hits[c], rows[c] + answers[c]),
        )
        for c, label in enumerate(labels)
    )


def _confusion(one: _Answers, labels: tuple[str, ...]) -> tuple[Confusion, ...]:
    pairs, counts = np.unique(one.targets * len(labels) + one.answers, return_counts=True)
    return tuple(
        Confusion(
            label=labels[pairs[i] // len(labels)], answer=labels[pairs[i] % len(labels)], rows=int(counts[i])
        )
        for i in np.argsort(-counts, kind="stable")
    )


def _believed(one: _Answers, temperature: float) -> Believed:
    """ECE by the bins of `Classification.calibration`."""
    objective, targets = Classification(one.logits.shape[1]), torch.from_numpy(one.targets)
    n, brier, nll, bins = len(targets), 0.0, 0.0, dict[float, tuple[float, float, float]]()
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        z, y = one.logits[part].double() / temperature, targets[part]
        found = objective.calibration(z, y, CONFIDENCE)
        brier += found.brier * len(y) / n
        nll += float(objective.loss(z, y)) * len(y) / n
        for m, *sums in found.confidence_bins or ():
            rows, sure, right = (a + b for a, b in zip(bins.get(m, (0.0, 0.0, 0.0)), sums, strict=True))
            bins[m] = (rows, sure, right)
    ece = sum(abs(right - sure) for _, sure, right in bins.values()) / n
    filled = tuple(
        Bin(rows=round(rows), probability=sure / rows, accuracy=right / rows)
        for _, (rows, sure, right) in sorted(bins.items())
    )
    return Believed(temperature=temperature, ece=float(ece), nll=nll, brier=brier, bins=filled)


def _doubts(
    bundle: Bundle, path: str, found: Scored, one: _Answers, scored: NDArray[np.int64]
) -> tuple[Doubt, ...]:
    labels, places = bundle.card.labels, found.labelled.places
    wrong = np.flatnonzero(one.answers != one.targets)
    wrong = wrong[np.argsort(-one.sure[wrong], kind="stable")]
    suspicious = _suspicious(one, bundle.card.temperature)
    columns = rows_at(found.recipe, path, {places[scored[i]] for i in wrong})
    return tuple(
        Doubt(
            place=places[scored[i]],
            label=labels[one.targets[i]],
            answer=labels[one.answers[i]],
            probability=round(float(one.sure[i]), 6),
            probability_of_label=round(float(one.of_label[i]), 6),
            label_looks_wrong=bool(suspicious[i]),
            columns=columns.get(places[scored[i]], {}),
        )
        for i in wrong
    )


def _suspicious(one: _Answers, temperature: float) -> NDArray[np.bool_]:
    n_classes = one.logits.shape[1]
    thresholds = fresh.self_confidence(one.of_label, one.targets, n_classes)
    found = np.zeros(len(one.targets), dtype=bool)
    for part, p in _in_parts(one.logits, temperature):
        found[part] = fresh.confident_disagreement(p, one.targets[part], thresholds)
    return found


def _unknown(found: Scored, one: _Answers, outputs: Tensor, temperature: float) -> Unknown | None:
    foreign = np.flatnonzero(found.numbers < 0)
    if not len(foreign):
        return None
    others = outputs[torch.from_numpy(foreign)]
    sure = np.concatenate([p.max(1) for _, p in _in_parts(others, temperature)])

    def energy(logits: Tensor) -> NDArray[np.float64]:
        values: NDArray[np.float64] = -(logits.double() / temperature).logsumexp(-1).numpy()
        return values

    counts = Counter(found.unknown[i] for i in foreign.tolist())
    return Unknown(
        rows=len(foreign),
        labels=dict(counts.most_common()),
        by_probability=fresh.foreign(1 - one.sure, 1 - sure),
        by_energy=fresh.foreign(energy(one.logits), energy(others)),
    )


def _of_reals(bundle: Bundle, targets: Tensor, outputs: Tensor, together: Together) -> OfReals:
    objective = objective_of(bundle.card.build)
    assert isinstance(objective, Regression)
    said, true = (objective.values(t.double()) for t in (outputs, targets))
    errors = said - true
    groups = (together.alike, together.clusters)
    squared, absolute, spread = (
        values.mean(1).numpy() for values in (errors.square(), errors.abs(), (true - true.mean(0)).square())
    )
    mse = mean_error(squared, groups, learned=1.0, confidence=CONFIDENCE)
    mae = mean_error(absolute, groups, learned=1.0, confidence=CONFIDENCE)
    rmse = ErrorInterval(*map(math.sqrt, (mse.mean, mse.low, mse.high)))
    value, low, high = fresh.r2(squared, spread, together.clusters, CONFIDENCE)
    return OfReals(
        mse=_error(mse),
        rmse=_error(rmse),
        mae=_error(mae),
        r2=Estimate(value=known(value), low=known(low), high=known(high)),
    )


def _estimate(found: ShareInterval) -> Estimate:
    return Estimate(value=known(found.share), low=found.low, high=found.high)


def _error(found: ErrorInterval) -> Estimate:
    return Estimate(value=known(found.mean), low=known(found.low), high=known(found.high))
