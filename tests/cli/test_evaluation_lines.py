"""What an evaluation of a bundle looks like in a terminal and in its tables."""

from __future__ import annotations

import io

from coldstart_cli.bundles.evaluating.evaluation import Guarantee
from coldstart_cli.cli.evaluation_lines import lines, write_doubts, write_matrix
from tests.kit.evaluations import WHOLE, found


def test_a_page_says_what_was_counted_and_a_small_matrix_whole() -> None:
    page = "\n".join(lines(found(2)))
    assert page.startswith("my b on t.csv: 4 rows of 2 classes, 3 different ones, of 2 origins\naccuracy 75")
    assert "2 c1            1  .\n" in page and "labels that look wrong: 1" in page
    assert "75.0  [20.0, 99.0]  the bundle's threshold\n" in page
    assert page.endswith("coldstart predict 'bundle=my b' input=PATH   (new inputs of the same form)")


def test_of_many_classes_the_weakest_and_the_largest_confusions() -> None:
    page = "\n".join(lines(found(30)))
    assert "and 18 further classes with a higher F1" in page and "c1     c0              1" in page


def test_a_guarantee_is_written_as_a_command_or_refused() -> None:
    kept = "\n".join(lines(found(2, Guarantee(precision=0.7, sure=0.95, found=WHOLE))))
    assert "precision 70 %: threshold=0.5 keeps it" in kept and "input=PATH threshold=0.5 " in kept
    none = "\n".join(lines(found(2, Guarantee(precision=0.9, sure=0.95, found=None))))
    assert "precision 90 %: no threshold keeps it" in none and "threshold=" not in none


def test_tables() -> None:
    classes = found(2).classes
    assert classes is not None
    matrix, doubts = io.StringIO(), io.StringIO()
    write_matrix(classes, matrix)
    assert matrix.getvalue() == "label,c0,c1\nc0,3,0\nc1,1,0\n"
    write_doubts(classes.doubts, doubts)
    head, row = doubts.getvalue().splitlines()
    assert head == "input,label,answer,probability,probability_of_label,label_looks_wrong,text,given_label"
    assert row == r"t.csv row 2,c1,c0,0.9,0.1,yes,-1\x1b[31m,c1"
