"""`coldstart predict`: a bundle reads raw inputs and answers, line by line as they come."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from coldstart_cli.bundles.bundle import AT_ONCE, Bundle, Prediction
from coldstart_cli.datasets.own.layouts import read_raw
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.safe_text import csv_cell, printable

Row = dict[str, Any]


def rows(places: Sequence[str], prediction: Prediction) -> Iterator[Row]:
    """One row for each input: label and probability (label None: it abstains), or the values."""
    if prediction.probabilities is None:
        assert prediction.values is not None
        for place, value in zip(places, prediction.values.tolist(), strict=True):
            yield {"input": place, "value": value[0] if len(value) == 1 else value}
        return
    best = prediction.probabilities.max(-1).values.tolist()
    for place, label, p in zip(places, prediction.labels, best, strict=True):
        yield {"input": place, "label": label, "probability": round(p, 6)}


def write(found: Iterator[Row], form: str, out: TextIO) -> None:
    """Writes rows as they come.

    Args:
        form: `json` (a line each), `csv`, or `text`: label, probability and input, tab-separated.
    """
    table = None
    for row in found:
        if form == "json":
            out.write(json.dumps(row) + "\n")
        elif form == "csv":
            if table is None:
                table = csv.writer(out, lineterminator="\n")
                table.writerow(row)
            table.writerow([csv_cell(value) for value in row.values()])
        else:
            out.write("\t".join(_shown(key, row) for key in (*list(row)[1:], "input")) + "\n")
        out.flush()


def _shown(key: str, row: Mapping[str, Any]) -> str:
    value = row[key]
    if key == "label" and value is None:
        return "(not sure)"
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


def predict(bundle: Bundle, path: str, form: str, *, on_bad: OnBad, threshold: float | None) -> Problems:
    """Predicts a file, a folder or standard input (`-`) chunk by chunk, writing as it goes.

    Args:
        threshold: below this probability it abstains; None: the card's.

    Returns:
        What could not be read; the first of it has ended the prediction unless on_bad is `skip`.
    """
    problems = Problems(on_bad)
    raws = read_raw(bundle.card.build.recipe, bundle.preprocess, path, problems=problems, chunk=AT_ONCE)
    answers = ((raw.places, bundle.read(bundle.outputs(raw.inputs), threshold)) for raw in raws)
    write((row for places, found in answers for row in rows(places, found)), form, sys.stdout)
    return problems
