"""What classes are called, as the model reads it: their labels in words, or a user's descriptions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.readers.delimited import TableFormat
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import check_columns, check_is_table, rows_of, text_of
from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.models.preprocess import Preprocess, in_words

_FORM = TableFormat("utf-8", "auto", quoted=None, header=True)
_SAYS_NOTHING = re.compile(
    r"[\W\d_]*"  # digits and signs alone
    r"|[a-z]\W*\d*"  # one letter, which digits may follow
    r"|(?:label|class|category|cat|cluster|group|intent|topic|type|target|tag|id|no)[\W_]*\d+"
    r"|(?=[a-f-]*\d)[0-9a-f-]{8,}"  # a hash, a UUID
)
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Wording:
    """How a user says what classes are called.

    Attributes:
        file: the table that says it, or None where labels alone do.
        rows: label -> its description, '' where it has none.
        beside: the label is read too, before its description.
    """

    file: str | None
    rows: Mapping[str, str]
    beside: bool


def worded(file: str | None, preprocess: Preprocess, *, beside: bool) -> Wording:
    """What the table says, read and checked before any example is.

    Args:
        file: a table with the columns label and, where a label is described, description; or None.

    Raises:
        RequestError: at descriptions that nobody would read, or that cannot be read.
    """
    if file is None:
        return Wording(None, {}, beside)
    if not preprocess.reads_names:
        raise RequestError(
            "dataset.descriptions: this model reads no text; choose one that does (model=minilm_frozen), or "
            "leave it out"
        )
    return Wording(file, described(file), beside)


def named(labelled: Labelled, preprocess: Preprocess, wording: Wording) -> Labelled:
    """The same examples, with what their classes are called.

    Descriptions change the fingerprint; labels are in it already. Neither changes a task's hash.

    Raises:
        RequestError: at descriptions of reals, or of no class of the data.
    """
    file, labels = wording.file, labelled.labels
    if file is not None and not labels:
        raise RequestError("dataset.descriptions: reals have no labels to describe; leave it out")
    if not preprocess.reads_names or not labels:
        return labelled
    said = {label: text for label, text in wording.rows.items() if text}
    words = [_words(label, said.get(label), beside=wording.beside) for label in labels]
    labelled = replace(
        labelled,
        names=preprocess.names(words),
        nameless=tuple(dict.fromkeys(x for x in labels if says_nothing(x) and x not in said)),
    )
    if file is None:
        return labelled
    problems = Problems("stop")
    _compare(file, wording.rows, labels, problems)
    problems.cut(len(words), *preprocess.cut(words))
    problems.warn(file, preprocess.max_length)
    return replace(
        labelled,
        fingerprint=digest([labelled.fingerprint, "described", repr(words)]),
        remarks=(*labelled.remarks, *problems.said),
    )


def described(file: str) -> dict[str, str]:
    """Label -> its description, '' where it has none, in the order of the rows.

    Raises:
        RequestError: naming file and row.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise RequestError(
            f"dataset.descriptions: {file} is not a file; name a table with columns label and description"
        )
    check_is_table(path, "dataset.descriptions")
    found: dict[str, str] = {}
    for place, row in rows_of(path, _FORM, Problems("stop")):
        check_columns(place, row, {"descriptions": "label"})
        label = text_of(row["label"])
        if not label:
            raise RequestError(f"{place}: column label is empty; fill it")
        if label in found:
            raise RequestError(f"{place}: the label {label} has a row already; keep one")
        found[label] = text_of(row.get("description"))
    if not found:
        raise RequestError(f"dataset.descriptions: {file} has no row; write one for each label")
    return found


def says_nothing(label: str) -> bool:
    """Whether a label is a number, a letter, a hash or such, of which no model can know what it means.

    Example:
        >>> [says_nothing(label) for label in ("7", "label_3", "card_arrival")]
        [True, True, False]
    """
    return _SAYS_NOTHING.fullmatch(label.strip().casefold()) is not None


def saying_their_name(
    texts: Sequence[str], targets: NDArray[np.int64], labels: Sequence[str]
) -> NDArray[np.bool_]:
    """(n,) whether the name of its class stands in each text, word by word in any case.

    Args:
        targets: (n,) the class of each text.
        labels: of the classes.
    """
    names = [_plain(in_words(label)) for label in labels]
    said = (names[c] in _plain(text) for text, c in zip(texts, targets.tolist(), strict=True))
    return np.fromiter(said, np.bool_, len(texts))


def _plain(text: str) -> str:
    return " ".join(["", *re.findall(r"[^\W_]+", text.casefold()), ""])  # with a space before and after each


def _words(label: str, description: str | None, *, beside: bool) -> str:
    if description is None:
        return in_words(label)
    return f"{in_words(label)}: {description}" if beside else description


def _compare(file: str, found: Mapping[str, str], labels: Sequence[str], problems: Problems) -> None:
    """Says what the file has too much and what it lacks.

    Raises:
        RequestError: where none of its labels is one of the data.
    """
    own = list(dict.fromkeys(labels))
    others = [label for label in found if label not in own]
    lacking = [label for label in own if not found.get(label)]
    if len(others) == len(found):
        raise RequestError(
            f"{file}: none of its {len(found):,} labels is a label of the data ({_first(others)}); "
            f"{suggestion(others[0], own)}"
        )
    if others:
        problems.remark(
            f"{file}: {len(others):,} of its {len(found):,} labels are no labels of the data "
            f"({_first(others)}) and are not used; {suggestion(others[0], own)}"
        )
    if lacking and any(found.values()):  # a list of labels alone describes none
        problems.remark(
            f"{file}: {len(lacking):,} of {len(own):,} labels have no description ({_first(lacking)}) and "
            "are read as they are; describe them"
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
