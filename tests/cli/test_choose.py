"""`coldstart choose` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.choosing.conftest import QUICK, TABLE, here, write_table
from tests.kit.adapted import call

__all__ = ["here"]


def test_a_leaderboard_a_verdict_and_what_to_do_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "choose", *TABLE, *QUICK, "bundle=my tickets")
    assert code == 0, err
    head, first, *_ = out.splitlines()
    assert head.split() == [
        "accuracy,",
        "%",
        "interval",
        "balanced,",
        "%",
        "adapt,",
        "s",
        "answer,",
        "ms",
        "MB",
    ]
    assert first.startswith("* ridge")
    assert "* ridge by the rule (the first of those that need no reason); cross-validation on 24" in out
    assert "coldstart predict 'bundle=my tickets' input=PATH" in out
    code, again, _ = call(capsys, "choose", *TABLE, *QUICK, "bundle=my tickets")
    assert code == 0 and "my tickets: nothing has changed since version 1, which is found again" in again


def test_more_labels_make_the_next_version_and_what_changed_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "choose", *TABLE, *QUICK, "bundle=b")
    rows = Path("table.csv").read_text() + "".join(f"{i},{i},{'xyz'[i % 3]}\n" for i in range(6))
    Path("table.csv").write_text(rows)
    asked = ("choose", *TABLE, "candidates=[nearest_centroid]", "bundle=b")
    _, out, _ = call(capsys, *asked, "--dry-run")
    assert out.endswith(
        "note: b is a bundle already, which is kept as b/versions/1 where anything has changed\n"
    )
    code, out, err = call(capsys, *asked)
    assert code == 0, err
    assert "version 2, since version 1 (bundle=b/versions/1): 6 examples added, 0 examples removed" in out
    _, out, _ = call(capsys, *asked, "--json")
    found = json.loads(out)
    assert (found["version"], found["found"], found["changed"]["added"]) == (2, True, 6)
    Path("table.csv").write_text(Path("table.csv").read_text().replace(",x", ",p"))
    Path("table.csv").write_text(Path("table.csv").read_text().replace(",y", ",q").replace(",z", ",r"))
    code, _, err = call(capsys, *asked)
    assert code == 2 and err.startswith(
        "bundle: b is a bundle of another task (it knows none of these classes"
    )


def test_what_is_wrong_with_the_data_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, first, *rest = Path("table.csv").read_text().splitlines()
    # one class has four rows, all of them the same
    Path("table.csv").write_text("\n".join([head, *[first] * 4, *rest[7:]]) + "\n")
    code, out, err = call(capsys, "choose", *TABLE, *QUICK, "bundle=b")
    assert code == 0, err
    assert "note: 3 of 20 examples repeat another one" in out
    _, out, _ = call(capsys, "choose", *TABLE, *QUICK, "bundle=b", "overwrite=true", "--json")
    found = json.loads(out)
    assert any("3 of 20 examples repeat" in line for line in found["said"]) and found["folds"] <= 8


def test_json_holds_the_verdict(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "choose", *TABLE, *QUICK, "bundle=b", "--json")
    found = json.loads(out)
    assert code == 0 and found["winner"] == "ridge" and found["bundle"] == "b" and len(found["rows"]) == 2
    write_table(Path("table.csv"), 1, 0.1)
    code, out, _ = call(capsys, "choose", *TABLE, *QUICK, "bundle=b", "overwrite=true")
    assert code == 0 and "by the rule" in out and "no label can be held out to judge by" in out


def test_a_dry_run_and_several_points(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "choose", *TABLE, *QUICK, "--dry-run")
    assert code == 0 and out.startswith("would judge 2 candidates in 8 folds, dealt 2 times: about ")
    code, _, err = call(capsys, "choose", "-m", *TABLE)
    assert code == 2 and err.startswith("choose: it makes one bundle")


def test_a_report_is_written_beside_what_is_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "choose", *TABLE, *QUICK, "bundle=b", "--html", "choice.html")
    assert code == 0 and out.startswith(" ") and err.endswith("report: choice.html\n")
    html = Path("choice.html").read_text()
    assert "ridge by the rule (the first of those that need no reason);" in html and "bundle=b" in html
    Path("folder").mkdir()
    code, _, err = call(capsys, "choose", *TABLE, *QUICK, "bundle=c", "--html", "folder")
    assert code == 2 and err.startswith("--html: folder is a folder") and not Path("c").exists()
