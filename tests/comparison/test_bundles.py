"""Bundles compared by their cards: who is paired with whom, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from coldstart_cli.comparison.bundles import bundle_folders, compare_bundles
from coldstart_cli.errors import RequestError
from tests.kit.bundles import put_card
from tests.kit.cards import keep_rows, write_card

GOOD = [1.0] * 18 + [0.0] * 2
POOR = [1.0] * 6 + [0.0] * 14


def test_the_best_comes_first_and_every_two_are_paired(tmp_path: Path) -> None:
    middling = [1.0] * 16 + [0.0] * 4
    made = {"poor": POOR, "good": GOOD, "middling": middling}
    found = compare_bundles([write_card(tmp_path / name, scores) for name, scores in made.items()])
    assert [one.name for one in found.bundles] == ["good", "middling", "poor"]
    assert [(pair.a, pair.b) for pair in found.pairs] == [
        ("good", "middling"),
        ("good", "poor"),
        ("middling", "poor"),
    ]
    p = [stats.binomtest(n, n).pvalue for n in (2, 12, 10)]
    assert [pair.found.p for pair in found.pairs] == pytest.approx(p)
    assert [pair.p_holm for pair in found.pairs] == pytest.approx([p[0], 3 * p[1], 2 * p[2]])
    assert found.tied("middling") and not found.tied("poor")
    assert (found.n_rows, found.n_clusters, found.left_out) == (20, 20, [])


def test_rows_that_either_model_sees_as_one_count_once(tmp_path: Path) -> None:
    pairs = {"data": "d1", "scores": GOOD, "clusters": [i // 2 for i in range(20)]}
    one = write_card(tmp_path / "one", GOOD, held_out=pairs)
    found = compare_bundles([one, write_card(tmp_path / "two", POOR)])
    assert (found.n_rows, found.n_clusters) == (20, 10)
    assert found.pairs[0].found.p == pytest.approx(stats.binomtest(6, 6).pvalue)


def test_errors_are_better_where_they_are_smaller(tmp_path: Path) -> None:
    measured = {"metric": "mse", "mean": 0.2, "low": None, "high": None, "folds": 2, "repeats": 1}
    one = write_card(tmp_path / "one", [0.1, 0.2, None, 0.3], cross_validation=measured)
    two = write_card(tmp_path / "two", [0.4, 0.5, None, 0.2], cross_validation={**measured, "folds": 3})
    found = compare_bundles([two, one])
    assert [o.name for o in found.bundles] == ["one", "two"]
    assert found.pairs[0].found.difference == pytest.approx(0.5 / 3) and found.n_rows == 3
    assert any("different numbers of folds (one in 2, two in 3)" in note for note in found.notes)


def test_bundles_of_other_rows_are_left_out_with_their_own_accuracy(tmp_path: Path) -> None:
    one, two = write_card(tmp_path / "one", GOOD), write_card(tmp_path / "two", POOR)
    rows = {"data": "d2", "scores": GOOD, "clusters": list(range(20))}
    other = write_card(tmp_path / "other", GOOD, held_out=rows)
    old = write_card(tmp_path / "old", GOOD, held_out=None)
    blind = write_card(tmp_path / "blind", GOOD, cross_validation=None)
    found = compare_bundles([one, two, other, old, blind])
    assert [(Path(left.path).name, left.reason) for left in found.left_out] == [
        ("old", "an earlier version made it, without answers to pair; adapt again"),
        ("blind", "no label of it could be held out"),
        ("other", "accuracy 90.0 % on other rows than one's"),
    ]
    with pytest.raises(RequestError, match=r"^compare: no two of these .* \(one: accuracy 90.0 %; other"):
        compare_bundles([one, other])
    with pytest.raises(RequestError, match=r"^compare: fewer than two .*old: an earlier version"):
        compare_bundles([one, old])
    with pytest.raises(RequestError, match=r"is one bundle; name others"):
        compare_bundles([one])


@pytest.mark.parametrize(
    "rows",
    [
        {"data": "d1", "scores": GOOD, "clusters": [0]},
        {"data": "d1", "scores": [None] * 20, "clusters": list(range(20))},
        {"data": "d1", "scores": "x", "clusters": 3},
        {"data": "d1", "scores": GOOD},
        {},
    ],
)
def test_a_damaged_card_is_left_out_in_one_line(tmp_path: Path, rows: object) -> None:
    paths = [write_card(tmp_path / name, GOOD) for name in ("one", "two")]
    found = compare_bundles([*paths, write_card(tmp_path / "bad", GOOD, held_out=rows)])
    (left,) = found.left_out
    assert left.path.endswith("bad") and "\n" not in left.reason and len(found.bundles) == 2


def test_folders_of_bundles_are_looked_into_and_links_followed_once(tmp_path: Path) -> None:
    one, two = write_card(tmp_path / "all" / "one", GOOD), write_card(tmp_path / "all" / "two", POOR)
    (tmp_path / "all" / "notes").mkdir()
    (tmp_path / "link").symlink_to(one)
    assert bundle_folders([tmp_path / "all", tmp_path / "link"]) == [one, two]
    assert bundle_folders([tmp_path / "all" / "notes", tmp_path / "none"]) == []
    (tmp_path / "all" / "notes" / "run.json").write_text("{}")  # then it is a folder of runs
    assert bundle_folders([tmp_path / "all"]) == []
    with pytest.raises(RequestError, match=r"notes is no bundle and .* is one; compare one kind at a time"):
        bundle_folders([one, tmp_path / "all" / "notes"])
    same = write_card(tmp_path / "again" / "one", POOR)
    assert {o.name for o in compare_bundles([one, same]).bundles} == {str(one), str(same)}


def test_what_choose_took_is_noted(tmp_path: Path) -> None:
    said = ["chosen by coldstart choose among 3 candidates, by rule"]
    paths = [write_card(tmp_path / "one", GOOD, said=said), write_card(tmp_path / "two", POOR)]
    found = compare_bundles(paths)
    assert found.bundles[0].chosen and any(note.startswith("choose took one among") for note in found.notes)
    assert np.isclose(found.bundles[0].value, 0.9)


def test_a_card_that_was_edited_is_left_out(tmp_path: Path) -> None:
    one, two, three = (write_card(tmp_path / name, GOOD) for name in ("one", "two", "three"))
    put_card(two, json.loads((two / "card.json").read_text()))
    assert len(compare_bundles([one, two, three]).bundles) == 3
    (two / "card.json").write_text((two / "card.json").read_text().replace("0.0", "1.0", 1))
    ((left_out,),) = [compare_bundles([one, two, three]).left_out]
    assert left_out.path == str(two) and "edited" in left_out.reason


def test_a_bundle_and_its_earlier_version_are_paired_on_the_rows_that_both_held_out(tmp_path: Path) -> None:
    now = write_card(tmp_path / "b", [1.0] * 12 + [0.0] * 8, held_out=rows_of("now", [1.0] * 12 + [0.0] * 8))
    keep_rows(now, [*range(100, 120)], [0, 1] * 10)
    before = write_card(now / "versions" / "1", GOOD, held_out=rows_of("before", [*[0.0] * 2, *GOOD[2:]]))
    # its rows come in another order, two are gone, one had the other label, two are new
    keep_rows(before, [*range(119, 101, -1), 7, 8], [1, 0] * 8 + [0, 0, 1, 1])
    found = compare_bundles([now, before])
    assert [one.name for one in found.bundles] == ["b/versions/1", "b"]
    assert found.n_rows == 17 and found.notes[0] == (
        "17 rows with the same label were held out by all, and the test is on these: b/versions/1 88.2 % "
        "(20 rows), b 52.9 % (20 rows); the table has each on all rows of its own"
    )
    # 119 and 118 were wrong before and are now; 117 to 112 have become wrong
    assert found.pairs[0].found.p == pytest.approx(stats.binomtest(6, 6).pvalue)
    assert found.pairs[0].found.difference == pytest.approx(6 / 17)
    with pytest.raises(RequestError, match=r"b is one bundle; .* as its earlier version .*b/versions/1$"):
        compare_bundles([now])


def rows_of(data: str, scores: list[float]) -> dict[str, object]:
    return {"data": data, "scores": scores, "clusters": [*range(len(scores))]}
