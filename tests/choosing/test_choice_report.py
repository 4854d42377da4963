"""A verdict as a report: what it says is what the verdict and the bundle say."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.choosing import requests
from coldstart_cli.choosing.choice_report import report_of
from coldstart_cli.reports.html.held_out import AtLabels
from tests.choosing.conftest import QUICK, TABLE


def test_a_report_says_what_the_verdict_and_the_card_say(here: Path) -> None:
    rows = Path("table.csv").read_text().splitlines()
    Path("table.csv").write_text("\n".join([*rows, rows[1], rows[2]]) + "\n")
    words = [*TABLE, *QUICK, "bundle=my b"]
    verdict, bundle = requests.choose(words, [])
    found = report_of(verdict, bundle, words)
    assert found.title == "table.csv" and found.percent and found.confidence == 0.95
    assert [(one.name, one.value, one.low) for one in found.lines] == [
        (one.name, one.value, one.low) for one in verdict.rows
    ]
    assert any(note.startswith("2 of 26 examples repeat") for note in found.notes)
    assert not any(note.startswith("chosen by") for note in found.notes)
    assert found.facts.startswith("accuracy on 26 labels of 3 classes, held out in 8 folds")
    assert found.commands[0][0].startswith("coldstart choose dataset=tabular")
    assert found.commands[0][0].endswith("'bundle=my b'")
    assert found.tables[0].rows[0][0] == verdict.winner and "taken" in found.tables[0].rows[0]
    more = verdict.more
    assert more is not None and found.more is not None
    own = next(row.value for row in verdict.rows if row.name == more.of)
    assert own is not None
    now, *later = found.more.foretold
    assert now == AtLabels(26 / 3, own, own, own)
    assert [at.value for at in later] == pytest.approx([min(1, own + gain.mean) for gain in more.gains])
    assert [at.k for at in found.more.known] == [point.k for point in more.points]
