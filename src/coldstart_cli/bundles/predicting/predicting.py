"""`coldstart predict`: a bundle reads raw inputs and answers, line by line as they come."""

from __future__ import annotations

import csv
import itertools
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import numpy as np

from coldstart_cli.bundles.predicting.prediction import Prediction, Predictor
from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.readers.lines import STDIN
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.durable import finite
from coldstart_cli.safe_text import csv_cell, printable

Row = dict[str, Any]
Form = Literal["text", "csv", "json"]
ALL = "all"
_OWN = ("input", "label", "probability", "value", "top", "probabilities")
"""Names of what an answer says; a column of the input that has one of them is written as `given_...`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is to be said of each input.

    Attributes:
        form: `json` (an object a line), `csv`, or `text`: label, probability and input, tab-separated.
        threshold: below this probability it abstains; None: the card's.
        top_k: labels, the likeliest first.
        probabilities: of every class.
        keep: columns of the input that stand beside the answer; `all` of them.
        batch_size: inputs that are predicted together; from standard input, at most.
        spreadsheet: CSV whose cells no spreadsheet takes for formulas: labels such as -1 are written as '-1.
    """

    form: Form
    threshold: float | None
    top_k: int
    probabilities: bool
    keep: tuple[str, ...]
    batch_size: int
    spreadsheet: bool


def predict(predictor: Predictor, path: str, asked: Asked, out: TextIO, *, on_bad: OnBad) -> Problems:
    """Predicts a file, a folder or standard input (`-`) chunk by chunk, writing as it goes.

    Returns:
        What could not be read; the first of it has ended the prediction unless on_bad is `skip`.

    Raises:
        RequestError: for what cannot be read, or answered.
    """
    problems = Problems(on_bad, key="on_bad")
    raws = predictor.raws(path, problems=problems, chunk=asked.batch_size)
    answers = _answers(predictor, raws, asked, problems)
    first = next(answers, None)
    write(answers if first is None else itertools.chain([first], answers), asked, out)
    if first is None and not problems.skipped and path != STDIN:
        warnings.warn(f"{path}: holds no input, so nothing was answered", RuntimeWarning, stacklevel=2)
    return problems


def rows(places: Sequence[str], prediction: Prediction) -> Iterator[Row]:
    """One row for each input: label and probability (label None: it abstains), or the values."""
    if prediction.probabilities is None:
        assert prediction.values is not None
        for place, value in zip(places, prediction.values.tolist(), strict=True):
            yield {"input": place, "value": value[0] if len(value) == 1 else value}
        return
    best = np.asarray(prediction.probabilities).max(-1, initial=0.0).tolist()
    for place, label, p in zip(places, prediction.labels, best, strict=True):
        yield {"input": place, "label": label, "probability": round(p, 6)}


def _answers(predictor: Predictor, raws: Iterator[Raw], asked: Asked, problems: Problems) -> Iterator[Row]:
    shift = None
    for raw in raws:
        answered = predictor.answered(raw.inputs, asked.threshold)
        if shift is None and (shift := answered.shift) is not None:
            warnings.warn(f"input: {shift}", RuntimeWarning, stacklevel=2)
        # A number that is none is no answer, however its maximum may be named.
        prediction, sound = answered.prediction, answered.sound
        found = list(rows(raw.places, prediction))
        for i, row in enumerate(found):
            if not sound[i]:
                what = "the predictor's outputs for it are no finite numbers"
                problems.add(raw.places[i], what, "give values such as it was adapted to")
                continue
            given = _kept(raw.rows[i] if raw.rows else {}, raw.places[i], asked)
            yield {
                "input": row.pop("input"),
                **given,
                **row,
                **further(prediction, i, asked.top_k, probabilities=asked.probabilities),
            }


def _kept(row: Mapping[str, Any], place: str, asked: Asked) -> Row:
    """The columns of an input that stand beside its answer, under names that the answer does not use."""
    columns = tuple(map(str, row)) if ALL in asked.keep else asked.keep
    for column in columns:
        if column not in row:
            known = suggestion(column, map(str, row)) if row else "inputs of this kind have no columns"
            raise RequestError(f"keep: {place} has no column {column!r}; {known}")
    return {f"given_{c}" if c in _OWN else c: finite(row[c]) for c in columns}


def further(prediction: Prediction, i: int, top_k: int, *, probabilities: bool) -> Row:
    """The likeliest labels of input i, and the probability of every class, as far as they are asked for."""
    if prediction.probabilities is None:
        return {}
    p, classes, more = np.asarray(prediction.probabilities[i]), prediction.classes, Row()
    if top_k > 1:
        best = np.argsort(-p, kind="stable")[:top_k]
        pairs = zip(best.tolist(), p[best].tolist(), strict=True)
        more["top"] = [{"label": classes[c], "probability": round(q, 6)} for c, q in pairs]
    if probabilities:
        more["probabilities"] = {c: round(q, 6) for c, q in zip(classes, p.tolist(), strict=True)}
    return more


def write(found: Iterator[Row], asked: Asked, out: TextIO) -> None:
    """Writes rows as they come."""
    table, heads = csv.writer(out, lineterminator="\n"), list[str]()
    for row in found:
        if asked.form == "json":
            out.write(json.dumps(row, allow_nan=False, default=str) + "\n")
        elif asked.form == "csv":
            cells = flat(row)
            if not heads:
                heads = list(cells)
                table.writerow(map(_cell(asked), heads))
            _check_heads(heads, cells)
            table.writerow(map(_cell(asked), cells.values()))
        else:
            out.write("\t".join(_shown(row)) + "\n")
        out.flush()


def flat(row: Row) -> Row:
    """An answer in cells: the further labels as label_2, probability_2, ..., the classes as p(CLASS)."""
    cells = {key: value for key, value in row.items() if key not in ("top", "probabilities")}
    for number, one in enumerate(row.get("top", ())[1:], start=2):
        cells |= {f"{key}_{number}": value for key, value in one.items()}
    return cells | {f"p({name})": p for name, p in row.get("probabilities", {}).items()}


def _check_heads(heads: Sequence[str], cells: Row) -> None:
    """
    Raises:
        RequestError: where rows of JSON differ in their columns, which CSV cannot hold.
    """
    if list(cells) != list(heads):
        odd = sorted({*heads} ^ {*cells}) or list(cells)
        raise RequestError(
            f"keep: {cells['input']} has other columns than the first row ({', '.join(odd[:5])}); name those "
            "to keep, or write --json"
        )


def _cell(asked: Asked) -> Callable[[object], object]:
    """What writes one cell: as it is, or so that no spreadsheet takes it for a formula.

    Control characters are escapes in either case, for a terminal may show the table. Line ends and tabs are
    kept, for CSV can hold them.
    """
    if asked.spreadsheet:
        return csv_cell
    return lambda value: printable(value, kept="\n\t") if isinstance(value, str) else value


def _shown(row: Row) -> Iterator[str]:
    """Cells of a line for a terminal: the answer first, what it was asked of last."""
    top, p = row.get("top", ())[1:], row.get("probabilities", {})
    answer = {key: row[key] for key in ("label", "probability", "value") if key in row}
    yield from (_word(key, value) for key, value in answer.items())
    for one in top:
        yield from (_word(key, value) for key, value in one.items())
    yield from (f"{printable(name)}={_word(name, value)}" for name, value in p.items())
    own = {*answer, "top", "probabilities", "input"}
    yield from (_word(key, value) for key, value in row.items() if key not in own)
    yield printable(row["input"])


def _word(key: str, value: object) -> str:
    if key == "label" and value is None:
        return "(not sure)"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.3f}"
    return printable(str(value))
