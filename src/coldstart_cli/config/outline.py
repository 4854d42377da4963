"""The keys of YAML files with their values and comments, read without a YAML parser and without Hydra.

It understands block style, in which all of conf is written, and is for answers that must be fast: a shell's
TAB, `--help`, `explain`. The config of a run is composed by Hydra (composition.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldstart_cli.config.catalog import Entry

_DEEPEST = 8  # nesting of defaults lists; a cycle ends here
_KEY = re.compile(r"( *)([A-Za-z_]\w*):(?:\s+(.*))?$")
_ITEM = re.compile(r" +- +(.*)")
_DEFAULT = re.compile(
    r"\s*-\s+(?:(?:override|optional)\s+)*/?([\w/@.]+)(?:\s*:\s*([^\s#]+))?(?:\s+#\s*(.*))?"
)
_PACKAGE = re.compile(r"# *@package +([\w.]+)")


@dataclass(frozen=True, slots=True)
class Written:
    """What a YAML file has at a key: the value as text, and the comment beside it."""

    value: str
    comment: str

    def over(self, other: Written | None) -> Written:
        """This one in place of `other`, whose comment it keeps if it has none itself."""
        return Written(self.value, self.comment or (other.comment if other else ""))


Outline = dict[str, Written]
Groups = Mapping[str, Sequence[Entry]]


def outline(path: Path) -> Outline:
    """Dotted keys of one file; a list in block style is written `[a, b]`, a mapping has an empty value."""
    found: Outline = {}
    open_keys: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _KEY.match(line)
        name = ".".join(key for _, key in open_keys)
        if match is None:
            item = _ITEM.match(line)
            if item and open_keys and found[name].value[:1] in ("", "["):
                before = found[name].value.strip("[]")
                found[name] = Written(
                    f"[{before}{', ' if before else ''}{_split(item[1])[0]}]", found[name].comment
                )
            continue
        indent, key = len(match[1]), match[2]
        # Less indentation, or the same, closes the keys above.
        while open_keys and open_keys[-1][0] >= indent:
            open_keys.pop()
        open_keys.append((indent, key))
        found[".".join(name for _, name in open_keys)] = Written(*_split(match[3] or ""))
    return {key: written for key, written in found.items() if key.partition(".")[0] != "defaults"}


def _split(text: str) -> tuple[str, str]:
    """The value and the comment of what follows a key."""
    if text.startswith("#"):
        return "", text.lstrip("# ").strip()
    value, _, comment = text.partition(" #")
    return value.strip(), comment.strip()


def defaults(path: Path) -> Iterator[tuple[str, Written]]:
    """(choice, name) of a file's defaults list; a choice is `group`, `group@package`, or empty."""
    inside = False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if inside and line.strip() and line[0] not in " -#":
            return
        match = _DEFAULT.match(line) if inside else None
        if match and match[1] != "_self_":
            choice, name = (match[1], match[2]) if match[2] else ("", match[1])
            yield choice, Written(name, (match[3] or "").strip())
        inside = inside or line.startswith("defaults:")


def selected(primary: Entry | None, words: Sequence[str], groups: Groups) -> dict[str, str]:
    """The name for each choice: from the primary config, then from an experiment, then as typed."""
    typed = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word[1:])
    chosen = {choice: w.value for choice, w in (defaults(primary.path) if primary else ()) if choice}
    experiment = entry(groups, "experiment", typed.get("experiment", chosen.get("experiment", "")))
    if experiment:
        chosen |= {choice: w.value for choice, w in defaults(experiment.path) if choice}
    return chosen | {choice: name for choice, name in typed.items() if choice.partition("@")[0] in groups}


def composed(primary: Entry | None, chosen: Mapping[str, str], groups: Groups) -> Outline:
    """The keys of a primary config with those of every choice, as they are typed."""
    keys = outline(primary.path) if primary else {}
    # An experiment is merged last, as in Hydra, where it overrides what it has chosen.
    last = {choice: name for choice, name in chosen.items() if choice == "experiment"}
    for choice, name in {**{c: n for c, n in chosen.items() if c not in last}, **last}.items():
        group, _, package = choice.partition("@")
        if group.partition("/")[0] != "hydra":
            for one in name.strip("[]").split(","):
                _merge(keys, node(groups, group, one.strip(), package))
    return keys


def node(groups: Groups, group: str, name: str, package: str = "") -> Outline:
    """The keys of a chosen config below its package (its group's name, unless another is given)."""
    return _node(groups, group, name, package, _DEEPEST)


def _node(groups: Groups, group: str, name: str, package: str, depth: int) -> Outline:
    found = entry(groups, group, name)
    if found is None or depth == 0:
        return {}
    keys: Outline = {}
    place = package or own_package(found)
    prefix = f"{place}." if place else ""
    for choice, other in defaults(found.path):
        wanted, _, below = choice.partition("@")
        inner = f"{prefix}{below or wanted}" if choice else place
        if found.group != "experiment" or not choice:  # an experiment's choices are in `selected`
            if below and other.comment:
                keys[f"{prefix}{below}"] = Written("", other.comment)
            _merge(keys, _node(groups, wanted or group, other.value, inner, depth - 1))
    _merge(keys, {prefix + key: written for key, written in outline(found.path).items()})
    return keys


def _merge(keys: Outline, others: Outline) -> None:
    keys.update({key: written.over(keys.get(key)) for key, written in others.items()})


def own_package(found: Entry) -> str:
    """The place of a config's keys: as its `@package` line says, otherwise below its group's name."""
    with found.path.open(encoding="utf-8", errors="replace") as lines:
        match = _PACKAGE.match(next(lines, ""))
    named = match[1] if match else "_group_"
    return {"_group_": found.group.replace("/", "."), "_global_": ""}.get(named, named)


def entry(groups: Groups, group: str, name: str) -> Entry | None:
    """The config of a group by its name, or None."""
    return next((one for one in groups.get(group, ()) if one.name == name), None)
