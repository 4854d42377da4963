"""Explains what can be set by `key=value`: type and range, default, a line. Reads only source and YAML."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Lt

from coldstart_cli.config.annotations import choices, described
from coldstart_cli.config.catalog import Entry
from coldstart_cli.config.key import CONFIG, Key
from coldstart_cli.config.outline import Groups, Outline, composed, entry, node, outline, selected
from coldstart_cli.config.signatures import Signature, signature

SCALARS: Mapping[str, Any] = {
    "seed": Annotated[int, Ge(0), Lt(2**31)],
    "outputs": str,
    "again": bool,
    "trust": list[str],
}
"""Types of values that belong to no part of a config; those of parts are in the signatures of targets."""

_CONFIGS = {"baseline": f"{CONFIG}, or null"}


def explained(keys: Outline) -> list[Key]:
    """The keys that can be typed, with the types and descriptions from the signatures of their targets."""
    targets = {key.rpartition("._target_")[0]: w.value for key, w in keys.items() if _is_target(key)}
    known = {place: signature(target) for place, target in targets.items()}
    found = []
    for key, written in keys.items():
        nested = targets.get(key) if key else None
        if _is_target(key) or key.startswith("hydra"):
            continue
        if written.value == "" and nested is None and any(other.startswith(f"{key}.") for other in keys):
            continue  # a mapping: its keys are explained
        annotation, line = _said(key, known)
        if nested and not (line or written.comment):
            continue  # a part of the whole config, which has a heading
        kind = _CONFIGS.get(key, "") if annotation is None else described(annotation)
        kind = f"{CONFIG} of {nested.rpartition('.')[2]}" if nested else kind
        words = () if annotation is None else choices(annotation)
        found.append(Key(key, kind, written.value, line, written.comment, words))
    return found


def _is_target(key: str) -> bool:
    return key.rpartition(".")[2] == "_target_"


def _said(key: str, known: Mapping[str, Signature | None]) -> tuple[Any, str]:
    """(annotation or None, line) of a key from the nearest target above it; in a mapping, of its values."""
    if key in SCALARS:
        return SCALARS[key], ""
    place, _, name = key.rpartition(".")
    above = known.get(place)
    if above is not None:
        return above.parameters.get(name), above.lines.get(name, "")
    if not place or place in known:
        return None, ""
    annotation, line = _said(place, known)
    for one in (annotation, *typing.get_args(annotation)):
        if typing.get_origin(one) in (dict, Mapping):
            return typing.get_args(one)[1], line
    return None, line


def unreadable(keys: Outline) -> list[str]:
    """The targets whose source cannot be found."""
    return sorted({w.value for key, w in keys.items() if _is_target(key) and signature(w.value) is None})


def of_entry(found: Entry, groups: Groups, package: str = "") -> Outline:
    """The keys that a config sets, as they are typed, with the targets that explain them.

    Args:
        package: its place, if that is not its group's, such as `baseline`.
    """
    if not found.group:
        return of_command(found)
    if found.group == "experiment":
        own = node(groups, found.group, found.name)
        whole = composed(
            entry(groups, "", "train"),
            selected(entry(groups, "", "train"), [f"experiment={found.name}"], groups),
            groups,
        )
        return {key: w for key, w in whole.items() if key in own or _is_target(key)}
    return node(groups, found.group, found.name, package)


def of_command(primary: Entry) -> Outline:
    """The keys of a command's own YAML file; those of `tune` are below its name."""
    prefix = f"{primary.name}." if primary.name == "tune" else ""
    return {f"{prefix}{key}": written for key, written in outline(primary.path).items()}


def roots_of(keys: Iterable[str]) -> set[str]:
    """The first parts of keys."""
    return {key.partition(".")[0] for key in keys}


def typed_choices(words: Sequence[str], groups: Groups) -> list[tuple[Entry, str]]:
    """The configs that words choose, such as `strategy@baseline=scratch`, each with its place."""
    found = []
    for word in words:
        choice, equals, names = word.lstrip("+").partition("=")
        group, _, package = choice.partition("@")
        if equals and group in groups:
            for name in names.strip("[]").split(","):
                one = entry(groups, group, name)
                if one is not None:
                    found.append((one, package))
    return found
