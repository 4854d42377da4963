"""Whether what classes are called stands in their texts: then k = 0 by names is a search for words."""

from __future__ import annotations

import numpy as np

from coldstart_cli.datasets.audit.findings import Finding
from coldstart_cli.datasets.audit.one_task import Observation
from coldstart_cli.datasets.own.labelled import Labelled

_NAMED = 3
_CHECK = "names of classes that stand in their texts word by word"


def told_of_names(labelled: Labelled) -> str | None:
    """The share of all texts, the classes with the largest, and labels that say nothing; None without texts.

    No leak and no fault: a result by names, or at k = 0, is to be read with it in mind.
    """
    if labelled.naming is None or not labelled.classes or not len(labelled):
        return None
    n_way, classes = len(labelled.classes), labelled.targets.numpy()
    sizes = np.bincount(classes, minlength=n_way)
    found = np.bincount(classes[labelled.naming], minlength=n_way)
    order = np.argsort(-found / np.maximum(sizes, 1), kind="stable")
    lines = [
        f"the name of class {labelled.classes[c]} stands in {found[c]:,} of its {sizes[c]:,} texts"
        for c in order[:_NAMED]
        if found[c]
    ]
    parts = [f"in {found.sum():,} of {len(labelled):,} texts ({found.sum() / len(labelled):.1%})", *lines]
    if labelled.nameless:
        more = ", ..." if len(labelled.nameless) > _NAMED else ""
        parts.append(
            f"{len(labelled.nameless):,} of {n_way:,} labels say nothing in words "
            f"({', '.join(labelled.nameless[:_NAMED])}{more}); describe them (dataset.descriptions=FILE)"
        )
    return "; ".join(parts)


def finding_of_names(labelled: Labelled) -> list[Finding]:
    """The same as a line of an audit; none without texts."""
    told = told_of_names(labelled)
    return [] if told is None else [Finding(_CHECK, f"{len(labelled):,} texts", 0, (), told)]


def observation_of_names(labelled: Labelled) -> list[Observation]:
    """The same of one task."""
    told = told_of_names(labelled)
    return [] if told is None else [Observation(_CHECK, 0, (), told)]
