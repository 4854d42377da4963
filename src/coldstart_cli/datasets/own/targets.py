"""Labels and targets as files hold them: what is none, what may be meant otherwise, and is said."""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import MISSING, text_of

Target = Literal["auto", "class", "real"]
_FEW = 50
"""Different whole numbers up to which a column of reals may as well be classes."""
_NAMED = 3
_BETWEEN = {";": False, "|": False, ",": True}
"""What stands between labels where several are written as one, and whether other names have it as well."""


def label_of(place: str, column: str, value: object, problems: Problems) -> str | None:
    """The name in a cell of labels, tasks or splits; None for what is none, which goes to `problems`."""
    if isinstance(value, list | dict | tuple):
        what = "several labels" if isinstance(value, list | tuple) else "an object"
        remedy = "write one label a row, as text or number (strategies here learn one label of each example)"
        problems.add(place, f"column {column} holds {what}, {value!r:.40}", remedy)
        return None
    text = text_of(value)
    if not text:
        problems.add(place, f"column {column} is empty", "fill it")
        return None
    return text


def warn_of_names(labels: Iterable[str], classes: Sequence[str]) -> None:
    """Warns of labels that read like no value or list others, and of classes that look the same to a person.

    Args:
        labels: as the files have them.
        classes: the same once each, with their task where there are tasks.
    """
    labels = list(labels)
    empty = sorted({label for label in labels if label.lower() in MISSING})
    if empty:
        warnings.warn(
            f"dataset: the label {_listed(empty)} reads like a missing value and is taken for a class; leave "
            "such rows out where it is none",
            RuntimeWarning,
            stacklevel=2,
        )
    _warn_of_lists(sorted(set(labels)))
    alike: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(classes):
        alike[_as_seen(name)].append(name)
    twins = [group for group in alike.values() if len(group) > 1]
    if twins:
        more = f", and {len(twins) - _NAMED} more" if len(twins) > _NAMED else ""
        shown = "; ".join(_listed(group) for group in twins[:_NAMED])
        warnings.warn(
            f"dataset: {sum(map(len, twins))} classes differ from another in case, accents or invisible "
            f"characters alone: {shown}{more}; write each label in one way",
            RuntimeWarning,
            stacklevel=2,
        )


def _warn_of_lists(labels: Sequence[str]) -> None:
    """Warns of labels such as `a;b`; of `a, b` where all of its parts are labels, alone or in other lists."""
    known = {label.strip() for label in labels}
    for sign, of_names in _BETWEEN.items():
        parts_of = {label: parts for label in labels if len(parts := _parts(label, sign)) > 1}
        of_lists = Counter(part for parts in parts_of.values() for part in parts)
        lists = [
            label
            for label, parts in parts_of.items()
            if not of_names or all(part in known or of_lists[part] > 1 for part in parts)
        ]
        if lists:
            warnings.warn(
                f"dataset: {len(lists)} labels hold {sign!r} as lists of labels do ({_listed(lists)}) "
                "and are classes of their own; where several are meant, write one (strategies learn one)",
                RuntimeWarning,
                stacklevel=3,
            )


def _parts(label: str, sign: str) -> set[str]:
    """The different names in a label that may be a list, as JSON or Python writes it or with signs alone."""
    inside = label[1:-1] if label[:1] + label[-1:] in ("[]", "()", "{}") else label
    return {part.strip(" '\"") for part in inside.split(sign)} - {""}


def classes_or_reals(y: NDArray[Any], target: Target, place: str) -> NDArray[Any]:
    """Targets as they are to be read: (n,) names or whole numbers are classes, reals a regression.

    Whole numbers that are stored as reals, and rows with a single 1, are read as reals by `auto`, with a
    warning.

    Args:
        y: (n,) or (n, n_outputs).
        place: of it, for messages.
    """
    if not y.size:
        return y
    flat = y.reshape(len(y), -1)
    if target == "real":
        return flat.astype(np.float32) if y.dtype.kind in "biu" else y
    if y.dtype.kind not in "fbiu" or (y.dtype.kind != "f" and flat.shape[1] == 1 and y.ndim == 1):
        return y
    one_hot = flat.shape[1] > 1 and bool(np.isin(flat, (0, 1)).all() and (flat.sum(1) == 1).all())
    whole = flat.shape[1] == 1 and bool((flat == np.round(flat)).all()) and len(np.unique(flat)) <= _FEW
    if target == "class" and one_hot:
        return np.asarray(flat.argmax(1))
    if target == "class" and whole:
        return flat[:, 0].astype(np.int64)
    if one_hot or (whole and len(np.unique(flat)) < len(flat)):
        kind = "rows with a single 1" if one_hot else f"{len(np.unique(flat))} whole numbers"
        warnings.warn(
            f"{place}: its reals are {kind} and are read as a regression; dataset.target=class reads them as "
            "classes",
            RuntimeWarning,
            stacklevel=2,
        )
    elif y.dtype.kind == "f" and flat.shape[1] > 1 and np.isin(flat, (0, 1)).all():
        warnings.warn(
            f"{place}: its rows are zeros and ones with other than a single 1, as of several labels of an "
            "example, and are read as a regression; write one label of each (strategies learn one)",
            RuntimeWarning,
            stacklevel=2,
        )
    return y


def _as_seen(name: str) -> str:
    """A name as a person sees it, whatever the case of its letters."""
    composed = unicodedata.normalize("NFC", name).casefold()
    visible = "".join(letter for letter in composed if unicodedata.category(letter) != "Cf")
    return " ".join(visible.split())


def _listed(names: Sequence[str]) -> str:
    return " / ".join(ascii(name) if not name.isprintable() else repr(name) for name in names[:_NAMED])
