"""What a verdict says, made from values alone."""

from __future__ import annotations

from dataclasses import replace

from coldstart_cli.choosing import wording
from tests.kit.choices import more, row, verdict


def test_what_decided_is_said() -> None:
    ours = verdict()
    assert wording.reason(ours) == (
        "b by the rule (two classes); cross-validation on 20 labels (8 folds, dealt 2 times) "
        "does not contradict it"
    )
    overruled = replace(ours, by="cross-validation", favourite="a", p=0.011)
    judged = "b by cross-validation on 20 labels (8 folds, dealt 2 times): better than a, which"
    assert wording.reason(overruled).startswith(judged)
    assert "though not surely better, than a" in wording.reason(replace(overruled, p=0.2))
    blind = replace(ours, rows=(row("b", "winner", None),))
    assert wording.reason(blind) == "b by the rule (two classes): no label can be held out to judge by"


def test_ties_and_luck_are_said_where_there_are_any() -> None:
    ours = verdict()
    assert wording.ties(ours) == "cannot be told from it by these labels: a"
    assert wording.ties(replace(ours, rows=ours.rows[:1])) is None
    assert "what is left after 2.5 points" in (wording.luck(replace(ours, luck=0.025)) or "")
    assert wording.luck(replace(ours, luck=0.0)) is None
    assert "the winner's mse has 0.3 for" in (wording.luck(replace(ours, metric="mse", luck=0.3)) or "")


def test_more_time_than_allowed_is_said() -> None:
    assert wording.overtime(verdict()) is None
    late = wording.overtime(replace(verdict(), seconds=61.0, time_minutes=0.5)) or ""
    assert late.startswith("it took 1.0 minutes, time_minutes=0.5 allowed less: what few steps foretell")


def test_a_table_has_a_cell_for_each_column_and_none_for_what_nobody_has() -> None:
    head, rows = wording.table(verdict())
    assert [len(cells) for cells in rows] == [len(head)] * 3
    assert rows[0] == ["b", "80.0", "[60.0, 95.0]", "75.0", "0.25", "1.5", "< 0.1"]
    blind = replace(verdict(), rows=(replace(row("b", "winner", None), balanced_accuracy=None),))
    head, rows = wording.table(blind)
    assert "balanced, %" not in head and rows[0][:3] == ["b", "-", "-"]


def test_more_labels_are_said_in_points() -> None:
    assert wording.more_labels(more(), verdict()) == (
        "more labels (by a, which is quicker): with 5 more a class +4.0 points [+1.0, +8.0]; "
        "90 % at about 22 a class; 90 % intervals"
    )
