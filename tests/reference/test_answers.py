"""The page of answers: it says what the reports say, and nothing else stands between its marks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference.answers import BEGIN, END, main, renewed
from reference.measured import Place, Report

ONE = Report(
    "r.html",
    "letters, 5-way",
    "accuracy, %",
    higher=True,
    places={
        "maml": [Place(1, 0.5, "50.0 ± 1.0", 2, 3), Place(5, 0.8, "80.0 ± 1.0", 1, 3)],
        "protonet": [Place(1, 0.6, "60.0 ± 1.0", 1, 3), Place(5, 0.7, "70.0 ± 1.0", 2, 3)],
        "mine (conv4)": [Place(5, 0.75, "75.0 ± 1.0", 1, 3)],
    },
    best={1: ["protonet"], 5: ["mine (conv4)", "maml"]},
)
FAMILIES = {"maml": "meta-learning", "protonet": "meta-learning"}


def test_committed_page_is_what_the_reports_say() -> None:
    assert main(["--check"]) == 0


def test_rows_name_who_is_not_beaten_and_the_best_of_each_family() -> None:
    page = renewed(f"before\n{BEGIN}old\n{END}after\n", [ONE], FAMILIES)
    assert page.startswith(f"before\n{BEGIN}") and page.endswith(f"{END}after\n") and "old" not in page
    lines = page.splitlines()
    assert "| [letters, 5-way](#letters-5-way) | `protonet` | `maml`, `mine (conv4)` |" in lines
    assert "| meta-learning | **`protonet` 60.0 ± 1.0** | **`maml` 80.0 ± 1.0** |" in lines
    assert "| other |  | **`mine (conv4)` 75.0 ± 1.0** |" in lines


def test_of_an_error_the_least_is_best() -> None:
    page = renewed(f"{BEGIN}{END}", [replace(ONE, higher=False)], FAMILIES)
    assert "| meta-learning | `maml` 50.0 ± 1.0 | `protonet` 70.0 ± 1.0 |" in page


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the lines <!-- made --> and <!-- end -->; put them back"):
        renewed("nothing", [ONE], FAMILIES)
