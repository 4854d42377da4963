"""A leak audit of a data set through what every source has: its pools, and the tasks that it draws.

What is checked stands in the findings of `contents` (classes, duplicates, examples of two splits) and of
`bank.BankAudit` (inside tasks, the same tasks again). Equality is exact; near duplicates are not looked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.core.tasks import Split, TaskShape, TaskSource
from coldstart_cli.datasets.audit.contents import Holding, Twins, coincidences, holdings, is_regression, twins
from coldstart_cli.datasets.audit.findings import FIRST, BankRow, Finding, Leaks, counted, finding
from coldstart_cli.datasets.audit.task_bank import Asked, BankAudit, nested
from coldstart_cli.datasets.own.draws import Draws

COMPARED = (1, 5)
"""Shots that are compared beside those of the evaluation."""
_APART: tuple[Split, ...] = ("train", "validation", "new")
"""Splits with classes of their own; those of source_test are those of train."""


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings, and the bank: a digest of the tasks of each use."""

    findings: tuple[Finding, ...]
    bank: tuple[BankRow, ...]

    @property
    def n_leaks(self) -> int:
        return sum(found.n_leaks for found in self.findings)


def audit(source: TaskSource, asked: Sequence[Asked], listed: Sequence[str]) -> Audit:
    """Checks a source as a run would use it.

    Args:
        asked: the tasks that the run draws; splits that cannot serve theirs are left out by the caller.
        listed: names of classes whose duplicates the YAML lists.
    """
    held = holdings(source)
    pairs = twins(held)
    declared = _declared(held, pairs, listed)
    tasks = BankAudit(source, held, pairs.where(declared).hashes)
    bank = [tasks.draw(one) for one in asked]
    unlisted = pairs.where(~declared)
    note = _listed(listed, int(declared.sum()))
    findings = [
        *tasks.findings(),
        _nested(source, asked),
        _classes(source, held),
        _source_test(source, held),
        *_duplicates(source, held, unlisted, note),
        Finding("near duplicates", "", 0, (), "equality is exact, of the decoded examples"),
    ]
    return Audit(tuple(findings), tuple(bank))


def _listed(listed: Sequence[str], n_found: int) -> str:
    if not listed:
        return ""
    names = ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
    return f"{len(listed)} listed in the YAML ({names}), {n_found or 'none'} of them among the examples"


def _declared(held: Sequence[Holding], pairs: Twins, listed: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) whether both examples of a pair are of classes that are listed."""

    def is_listed(holding: int, label: int) -> bool:
        names = held[holding].names
        return 0 <= label < len(names) and names[label] in listed

    both = zip(pairs.holding.tolist(), pairs.label.tolist(), strict=True)
    marks = [all(map(is_listed, holding, label)) for holding, label in both]
    return np.array(marks, dtype=np.bool_)


def _nested(source: TaskSource, asked: Sequence[Asked]) -> Finding:
    """Supports over k, on the splits whose tasks are compared over k."""
    check = "supports are nested over k, and queries are the same"
    leaks = Leaks()
    compared: dict[str, list[str]] = {}
    evaluated = [one for one in asked if "evaluation" in one.uses]
    for split in dict.fromkeys(one.split for one in evaluated):
        shapes = [one.shape for one in evaluated if one.split == split]
        wanted = sorted({shape.k_shot for shape in shapes} | set(COMPARED))
        served = [k for k in wanted if _serves(source, split, replace(shapes[0], k_shot=k))]
        if len(served) > 1:
            found = nested(source, split, shapes[0], served)
            leaks.n += found.n
            leaks.first = (leaks.first + found.first)[:FIRST]
            compared.setdefault(", ".join(map(str, served)), []).append(split)
    checked = "; ".join(f"{', '.join(splits)} at k = {shots}" for shots, splits in compared.items())
    return finding(check, checked, leaks, "" if compared else "one k alone can be served")


def _serves(source: TaskSource, split: Split, shape: TaskShape) -> bool:
    """`with_shape` takes what new tasks can have; the split must have it as well."""
    return source.refusal("new", shape) is None and source.refusal(split, shape) is None


def _classes(source: TaskSource, held: Sequence[Holding]) -> Finding:
    """Whether splits have classes (a regression: functions) of their own, by name."""
    regression = is_regression(source)
    one_thing, things = ("function", "functions") if regression else ("class", "classes")
    names = {h.where: h.names for h in held if h.where in _APART}
    one_task = isinstance(source, Draws)
    shared = one_task or (source.shares_labels and not regression)
    check = f"{things} of train, validation and new are disjoint"
    if shared:
        of = "one task" if one_task else "train"
        check = f"classes of validation and new are those of {of}, in their order"
    note = _groups(held)
    if shared:
        note = f"{'draws of one task' if one_task else 'labels shared between source and new'}: declared"
    if not all(names.values()):
        unnamed = f"the data set does not name its {things}, examples alone tell"
        return Finding(check, "", 0, (), f"{unnamed}; {note}" if note else unnamed)
    leaks = Leaks()
    for split, own in names.items():
        for name, n in Counter(own).items():
            if n > 1:
                leaks.add(f"{name} is {n} {things} of {split}")
        if shared:
            _compare_order(names.get("train", next(iter(names.values()))), own, split, leaks)
    for one, other in () if shared else combinations(names, 2):
        for name in sorted(set(names[one]) & set(names[other])):
            leaks.add(f"{name} is a {one_thing} of {one} and of {other}")
    sizes = " + ".join(f"{len(own):,}" for own in names.values())
    return finding(check, f"{sizes} {things}", leaks, note)


def _compare_order(train: Sequence[str], other: Sequence[str], split: str, leaks: Leaks) -> None:
    if len(train) != len(other):
        leaks.add(f"{split} has {counted(len(other), 'class')} and train {len(train):,}")
    for number, (one, name) in enumerate(zip(train, other, strict=False)):
        if one != name:
            leaks.add(f"class {number} is {one} in train and {name} in {split}")


def _source_test(source: TaskSource, held: Sequence[Holding]) -> Finding:
    things = "functions" if is_regression(source) else "classes"
    check = f"source_test has the {things} of train, in their order"
    names = {h.where: h.names for h in held if h.where in ("train", "source_test")}
    if "source_test" not in names:
        return Finding(check, "", 0, (), "no examples are held out for source_test")
    if not all(names.values()):
        return Finding(check, "", 0, (), f"the data set does not name its {things}")
    leaks = Leaks()
    _compare_order(names["train"], names["source_test"], "source_test", leaks)
    return finding(check, f"{len(names['source_test']):,} {things}", leaks, "")


def _groups(held: Sequence[Holding]) -> str:
    """Groups (alphabet, script) are not classes: that splits share some is told, and is no leak."""
    groups = {h.where: set(h.groups) for h in held if h.where in _APART and h.groups}
    shared = [
        f"{len(both)} by {one} and {other}"
        for one, other in combinations(groups, 2)
        if (both := groups[one] & groups[other])
    ]
    return f"groups shared: {', '.join(shared)}" if shared else ""


def _duplicates(source: TaskSource, held: Sequence[Holding], pairs: Twins, note: str) -> list[Finding]:
    """Equal examples of two splits (or of a pool and its fixed queries), of two classes, of one class."""
    n_examples = sum(map(len, held))
    examples, chance = counted(n_examples, "example"), coincidences(source, n_examples)
    between = pairs.holding[:, 0] != pairs.holding[:, 1]
    same_label = pairs.label[:, 0] == pairs.label[:, 1]
    found = [
        _told(held, pairs.where(between), chance),
        _told(held, pairs.where(~between & same_label), chance),
    ]
    findings = [
        finding("examples of different splits are disjoint", examples, found[0], note),
        finding("no example is twice in a class of a split", examples, found[1], note),
    ]
    if not is_regression(source):
        torn = _told(held, pairs.where(~between & ~same_label), 0)
        findings.insert(1, finding("no example is in two classes of a split", examples, torn, note))
    return findings


def _told(held: Sequence[Holding], pairs: Twins, chance: int) -> Leaks:
    """A line for each pair; up to `chance` pairs are none."""
    leaks = Leaks()
    if len(pairs) <= chance:
        return leaks
    for holding, place in zip(pairs.holding.tolist(), pairs.place.tolist(), strict=True):
        one, other = (held[number].described(at) for number, at in zip(holding, place, strict=True))
        leaks.add(f"{one} equals {other}")
    return leaks
