"""The family of a config: the sub-package that contains the class it names."""

from __future__ import annotations

from collections.abc import Sequence

from coldstart_cli.config.catalog import Entry
from coldstart_cli.config.outline import Groups, node, own_package
from coldstart_cli.config.signatures import module_of, public_names
from coldstart_cli.renamed import RENAMED


def by_family(entries: Sequence[Entry], groups: Groups) -> dict[str | None, list[Entry]]:
    """Entries of a group by family, in the order of the package's public names.

    Those without a family (a module directly in the package, a class from elsewhere) come last, under None.
    """
    found: dict[str | None, list[Entry]] = {}
    order: dict[str | None, int] = {}
    for entry in entries:
        target = _target(entry, groups)
        family = family_of(target)
        found.setdefault(family, []).append(entry)
        names = public_names(target.rpartition(".")[0])
        place = names.index(target.rpartition(".")[2]) if family else len(entries) + len(names)
        order[family] = min(place, order.get(family, place))
    return {family: found[family] for family in sorted(found, key=lambda f: (f is None, order[f]))}


def family_of(target: str) -> str | None:
    """`meta-learning` for coldstart_cli.strategies.MAML, which is in strategies/meta_learning/maml.py."""
    package = target.rpartition(".")[0]
    below = (module_of(target) or package).removeprefix(package).strip(".").split(".")
    return below[0].replace("_", "-") if len(below) > 1 else None


def _target(entry: Entry, groups: Groups) -> str:
    written = node(groups, entry.group, entry.name).get(f"{own_package(entry)}._target_")
    target = written.value if written else ""
    return RENAMED.get(target, target)
