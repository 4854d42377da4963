"""`conf/candidates/<layout>.yaml`: what `choose` tries, and prefers where labels are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldstart_cli.config.catalog import CANDIDATES
from coldstart_cli.config.search_files import plain_file, plain_mapping
from coldstart_cli.errors import RequestError, suggestion

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "most_classes": int, "frozen_below": (int, float), "named": bool,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """When a candidate is the favourite; what is None says nothing.

    Attributes:
        most_classes: of the task.
        frozen_below: share of right answers that no candidate with frozen features reaches.
        named: whether labels say something in words that the model reads.
    """

    most_classes: int | None = None
    frozen_below: float | None = None
    named: bool | None = None

    def said(self) -> str:
        """In words, after "is preferred"; empty where it always is."""
        parts = [] if self.most_classes is None else [f"up to {self.most_classes} classes"]
        if self.frozen_below is not None:
            parts.append(f"frozen features below {100 * self.frozen_below:g} %")
        if self.named is not None:
            parts.append("labels that say something" if self.named else "labels that say nothing")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried.

    Attributes:
        words: overrides, as for `adapt`.
        prefer: when it is the favourite; None: never.
        run: a finished run that is adapted, or None.
    """

    name: str
    words: tuple[str, ...]
    prefer: Preference | None = None
    run: Path | None = None


def candidates_in(path: Path) -> list[Candidate]:
    """What a file describes, in its order, which is that of preference.

    Raises:
        RequestError: where it is not as the package's files are.
    """
    values = plain_mapping(path, "names to candidates", "see coldstart cat candidates/text")
    return [_candidate(path, str(name), node) for name, node in values.items()]


def candidates_file(kind: str, config_dirs: Sequence[str]) -> Path:
    """The file for a kind of inputs: of your own folders, installed plug-ins or the package."""
    found = plain_file(CANDIDATES, kind, config_dirs)
    assert found is not None  # the package has one for each
    return found


def _candidate(path: Path, name: str, node: Any) -> Candidate:
    if not isinstance(node, dict) or not isinstance(words := node.get("words"), list):
        raise RequestError(f"{path}: {name} has no list of words; write words: [strategy=..., model=...]")
    if wrong := [word for word in words if not isinstance(word, str) or "=" not in word]:
        raise RequestError(f"{path}: {name}: {wrong[0]!r} is no override; write key=value")
    if unknown := [key for key in node if key not in ("words", "prefer")]:
        raise RequestError(f"{path}: {name}.{unknown[0]}: there is no such key; write words or prefer")
    prefer = node.get("prefer")
    if prefer is None:
        return Candidate(name, tuple(words))
    for key, value in prefer.items() if isinstance(prefer, dict) else [("prefer", prefer)]:
        if key not in _KINDS:
            raise RequestError(f"{path}: {name}.{key}: there is no such key; {suggestion(str(key), _KINDS)}")
        if not isinstance(value, _KINDS[key]):
            raise RequestError(f"{path}: {name}.{key}: {value!r} is no value for it; see candidates/text")
    return Candidate(name, tuple(words), Preference(**prefer))
