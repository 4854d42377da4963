"""What is said of an evaluation of a bundle, in the terminal and on its page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from coldstart_cli.bundles.evaluating.evaluation import (
    Believed,
    Doubt,
    Estimate,
    Evaluation,
    Guarantee,
    OfClasses,
    OfReals,
    Unknown,
)
from coldstart_cli.metrics.numbers import significant

MOST_LABELS = 5
"""That the bundle does not know, and a sentence names."""


def counted(found: Evaluation) -> str:
    """How many rows and classes there are."""
    rows = f"{found.rows:,} row{'' if found.rows == 1 else 's'}"
    if found.classes is not None:
        labels = sum(1 for one in found.classes.classes if one.rows)
        rows += f" of {labels:,} class{'' if labels == 1 else 'es'}"
        if labels < len(found.classes.classes):
            rows += f" (of {len(found.classes.classes):,} that it knows)"
    if found.different < found.rows:
        rows += f", {found.different:,} different ones"
    if found.origins is not None:
        rows += f", of {found.origins:,} origins"
    return rows


def _real(value: float | None) -> str:
    return "not known" if value is None else significant(value)


def share(found: Estimate) -> str:
    """In percent, with its interval."""
    value, low, high = (0.0 if end is None else 100 * end for end in (found.value, found.low, found.high))
    return f"{value:.1f} %, 95 % interval [{low:.1f}, {high:.1f}]"


def believed(found: Believed) -> str:
    """ECE, NLL and Brier score."""
    ece = "not known" if found.ece is None else f"{100 * found.ece:.1f} %"
    at = f"at temperature {significant(found.temperature)}"
    return f"ECE {ece}, NLL {found.nll:.3f}, Brier {found.brier:.3f} {at}"


def unknown(found: Unknown) -> list[str]:
    """Rows of labels that the bundle does not know, and how they are told from the others."""
    first = ", ".join(f"{name} {n:,}" for name, n in list(found.labels.items())[:MOST_LABELS])
    more = ", ..." if len(found.labels) > MOST_LABELS else ""
    one = found.rows == 1
    have, them = ("1 row has a label", "it") if one else (f"{found.rows:,} rows have labels", "them")
    told = [f"{have} that the bundle does not know ({first}{more}); no number above counts {them}"]
    for name, score in (("1 - probability", found.by_probability), ("energy", found.by_energy)):
        told.append(
            f"  told from the others by {name}: AUROC {100 * score.auroc:.1f} %, {100 * score.rejected:.1f} "
            "% of them rejected where 95 % of the others are kept"
        )
    return told


def guarantee(found: Guarantee, *, foreign: bool) -> list[str]:
    """The threshold that keeps the precision asked for, or that none does.

    Args:
        foreign: whether rows of unknown labels were left out.
    """
    asked = f"precision {100 * found.precision:g} %"
    if found.found is None:
        return [
            f"{asked}: no threshold keeps it with a probability of {100 * found.sure:g} % on these rows; "
            "label more, or ask for less"
        ]
    one = found.found
    like = "these rows of classes that it knows" if foreign else "these rows"
    return [
        f"{asked}: threshold={one.threshold:g} keeps it, with a probability of {100 * found.sure:g} % where "
        f"new inputs are like {like}; it answers {100 * one.share:.1f} % of them, "
        f"{100 * one.precision:.1f} % rightly"
    ]


def reals(found: OfReals) -> list[str]:
    """A line for each metric of a regression."""
    parts = (("MSE", found.mse), ("RMSE", found.rmse), ("MAE", found.mae), ("R2", found.r2))
    return [
        f"{name} {_real(one.value)}, interval [{_real(one.low)}, {_real(one.high)}]" for name, one in parts
    ]


def scores(found: OfClasses) -> list[str]:
    """Accuracy, balanced accuracy and macro F1."""
    return [
        f"accuracy {share(found.accuracy)}; always the most frequent label: {100 * found.majority:.1f} %",
        f"balanced accuracy {share(found.balanced_accuracy)}",
        f"macro F1 {share(found.macro_f1)}",
    ]


def suspicious(doubts: Sequence[Doubt]) -> tuple[list[Doubt], str]:
    """Rows whose labels look wrong, the least likely first, and what is said of them; empty where none do."""
    rows = sorted((one for one in doubts if one.label_looks_wrong), key=lambda one: one.probability_of_label)
    said = (
        f"labels that look wrong: {len(rows):,}, by confident learning, the least likely first; "
        "look at them before you believe the accuracy"
    )
    return rows, said if rows else ""


def predict_words(found: Evaluation) -> str:
    """The command that answers new inputs, from the threshold that was found on."""
    threshold = ""
    if found.classes is not None and found.classes.guarantee is not None:
        one = found.classes.guarantee.found
        threshold = f" threshold={one.threshold:g}" if one is not None else ""
    return f"coldstart predict {shlex.quote(f'bundle={found.bundle}')} input=PATH{threshold}"
