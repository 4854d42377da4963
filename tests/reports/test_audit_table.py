"""The audit as a person reads it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from coldstart_cli.datasets.audit.findings import BankRow, DataAudit, Finding
from coldstart_cli.reports import audit_table


def summary(
    *, n_leaks: int = 0, note: str = "", name: str = "glyphs", bank_seed: int | None = 3
) -> DataAudit:
    leaks = tuple(f"{name} #{number} equals new #7" for number in range(min(n_leaks, 10)))
    return DataAudit(
        name=name,
        settings={} if bank_seed is None else {"bank_seed": bank_seed},
        fingerprint="0123abcd",
        facts={"train": "4 classes x 8 examples"},
        n_leaks=n_leaks,
        findings=[
            Finding("examples are disjoint", "144 examples", n_leaks, leaks, note),
            Finding("near duplicates", "", 0, (), "equality is exact"),
        ],
        not_served=["source_test at k = 5: too few"],
        unreadable=["c3/broken.png: it is not an image"],
        bank=[
            BankRow(
                ("validation", "evaluation"), "validation", "5-way 1-shot, 15 queries", 200, 199, "feedfeed"
            )
        ],
    )


def shown(audit: DataAudit, width: int = 160) -> str:
    stream = io.StringIO()
    audit_table.show(audit, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_audit_report_of_a_clean_source_is_one_table_and_a_verdict() -> None:
    text = lines(shown(summary(note="1 listed in the YAML")))
    assert "what was checked how many result" in text
    assert "examples are disjoint 144 examples clean; 1 listed in the YAML" in text
    assert "near duplicates - not checked: equality is exact" in text
    assert "left out, as in a run: source_test at k = 5: too few" in text
    assert "Task bank (bank seed 3, data 0123abcd): equal digests are equal tasks" in text
    assert "validation (validation, evaluation) 5-way 1-shot, 15 queries 199 of 200 feedfeed" in text
    assert text[-1] == "clean: no leak was found"
    assert not [line for line in text if line.startswith("LEAK")]


def test_audit_report_tells_leaks_line_by_line_and_counts_the_others() -> None:
    text = lines(shown(summary(n_leaks=12)))
    assert "examples are disjoint 144 examples LEAK: 12" in text
    told = [line for line in text if line.startswith("LEAK")]
    assert told[0] == "LEAK glyphs #0 equals new #7"
    assert told[10:] == ["LEAK ... and 2 more: examples are disjoint"]
    assert text[-1] == "12 leaks of 1 kind"
    assert lines(shown(summary(n_leaks=1)))[-1] == "1 leak of 1 kind"


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/nope]", ":smile:"])
def test_audit_report_prints_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    audit_table.show(summary(name=name, n_leaks=1))
    assert f"LEAK {name} #0 equals new #7" in capsys.readouterr().out


@pytest.mark.parametrize("width", [30, 60])
def test_audit_report_fits_a_narrow_terminal(width: int) -> None:
    text = shown(summary(bank_seed=None), width)
    assert "144" in text
    assert "Task bank (data 0123abcd)" in text
