"""An evaluation of a bundle made from values alone, and its page."""

from __future__ import annotations

from collections.abc import Sequence

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
)
from coldstart_cli.metrics.fresh import Answered
from coldstart_cli.reports.html.evaluated import EvaluatedReport, Kept, OfClassesReport, Reliable
from coldstart_cli.reports.html.tables import Table

WHOLE = Answered(threshold=0.5, share=1.0, answered=4, precision=0.75, low=0.2, high=0.99)


HALF = Answered(threshold=0.9, share=0.5, answered=2, precision=1.0, low=0.4, high=1.0)


def found(n_classes: int, guarantee: Guarantee | None = None) -> Evaluation:
    """Of four rows of two of the classes, one of them answered wrongly."""
    names = [f"c{i}" for i in range(n_classes)]
    share = Estimate(value=0.75, low=0.2, high=0.99)
    bins = (Bin(rows=1, probability=0.6, accuracy=0.0), Bin(rows=3, probability=0.9, accuracy=1.0))
    before, believed = (Believed(temperature=t, ece=0.1, nll=0.5, brier=0.3, bins=bins) for t in (1.0, 2.0))
    classes = OfClasses(
        accuracy=share,
        balanced_accuracy=share,
        macro_f1=share,
        majority=0.5,
        classes=[
            ClassScore(label=name, rows=2, answers=1, recall=0.5, precision=None, f1=0.4) for name in names
        ],
        confusion=[
            Confusion(label="c0", answer="c0", rows=3),
            Confusion(label="c1", answer="c0", rows=1),
        ],
        calibrated=believed,
        before=before,
        coverage=[WHOLE],
        curve=[WHOLE, HALF],
        at_threshold=WHOLE,
        doubts=[
            Doubt(
                place="t.csv row 2",
                label="c1",
                answer="c0",
                probability=0.9,
                probability_of_label=0.1,
                label_looks_wrong=True,
                columns={"text": "-1\x1b[31m", "label": "c1"},
            )
        ],
        unknown=None,
        guarantee=guarantee,
    )
    return Evaluation(
        bundle="my b",
        input="t.csv",
        rows=4,
        different=3,
        origins=2,
        classes=classes,
        reals=None,
        said=("note this",),
    )


def report(names: Sequence[str]) -> EvaluatedReport:
    """Of classes with these names: each has three rows, one of them answered as the next class is."""
    n = len(names)
    rows = [[name, "3", f"{10 * i}.0" if i else "-"] for i, name in enumerate(names)]
    table = Table.of_numbers("Each class", ["class", "rows", "F1, %"], rows, (0,), sortable=True)
    wrong = Table(
        "Wrong answers", ["row", "input"], [[f"row {i}", name] for i, name in enumerate(names)], (0, 1)
    )
    return EvaluatedReport(
        title=f"b on {names[0]}", sentences=["accuracy 66.7 %"], notes=[f"of {names[-1]}"], facts="9 rows",
        confidence=0.95, scores=Table("All rows", ["score", "value"], [["accuracy, %", "66.7"]], (0,)),
        commands=[("coldstart predict bundle=b", "new inputs")],
        of_classes=OfClassesReport(
            labels=list(names),
            confusion=[(i, i, 2) for i in range(n)] + [(i, (i + 1) % n, 1) for i in range(n)],
            reliable=[Reliable("at temperature 0.5", [(2, 0.5, 0.4), (9, 0.9, 0.8)]),
                      Reliable("at temperature 1", [(11, 0.4, 0.7)])],
            kept=[Kept(1.0, 0.2, 0.3, 0.2, 0.4), Kept(0.5, 0.6, 0.1, 0.0, 0.3),
                  Kept(0.0, 1.0, None, 0.0, 1.0),
                  Kept(0.7, 0.5, 0.1, None, None, "threshold for precision 90 %")],
            allowed=0.1, classes=table, confused=None, bins=table, coverage=table, wrong=wrong,
            suspicious=None, unknown=table,
        ),
    )  # fmt: skip
