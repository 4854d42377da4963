"""`key=value` words as a person types them, made into what Hydra's grammar takes.

That grammar has no letter beyond ASCII and gives commas, equals signs and brackets a meaning, which a path or
a name may hold. Such a value is put into quotes here, the same way for every command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from coldstart_cli.errors import RequestError

_PLACES = {
    "outputs",
    "root",
    "path",
    "adapter",
    "storage",
    "bundle",
    "file",
    "folder",
    "descriptions",
    "file_list",
}
"""Last parts of keys whose values name a file or a folder."""
_NAME = re.compile(r"(?:.*\.)?(?:licence|encoding|sheet|\w+_column|\w+_key)")
"""Keys whose values are names that somebody else chose, of columns and such."""
_NAMES = re.compile(r"((?:.*\.)?(?:ignore|keep|categories|labelled))=\[([^\[\]'\"]*)\]", re.DOTALL)
"""A list of such names."""
_NOT_SWEPT = ("tune.", "sweep.")
_PLAIN = re.compile(r"[A-Za-z0-9_/\\+.$%*@?|: -]*")
"""What Hydra takes as one value without quotes; the - stands last, for itself."""
_WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_][A-Za-z0-9_-]*", re.IGNORECASE | re.ASCII)
"""A name that needs no quotes anywhere: it is not read as a number, a truth value or nothing."""
_MEANT = re.compile(r"""\s*(?:['"\[{]|[a-z]+\(.*\)\s*$)|.*\$\{""", re.DOTALL)
"""Quoted already, a list, a mapping, a function of sweeps, an interpolation."""


def once(words: Sequence[str]) -> Iterator[str]:
    """What there is to say of keys that are given twice, of which Hydra takes the last without a word.

    Raises:
        RequestError: for a choice that is made twice, such as strategy=maml strategy=anil.
    """
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.lstrip("+").partition("=")
        before = given.get(name, value)
        if equals and before != value:
            if "." not in name:
                raise RequestError(
                    f"{name}: the key is given twice, as {before[:60]} and {value[:60]}; leave one out"
                )
            yield f"{name}: the key is given twice, as {before[:60]} and {value[:60]}; the last counts"
        given[name] = value


def quoted(words: Sequence[str], *, sweeps: bool) -> list[str]:
    """The words with quotes around paths and names that need them.

    Args:
        sweeps: whether a comma separates values to try; a path with one is then a path only where it exists.
    """
    return [_quoted(word, sweeps) for word in words]


def _quoted(word: str, sweeps: bool) -> str:
    listed = _NAMES.fullmatch(word)
    if listed:
        names = [name.strip() for name in listed[2].split(",") if name.strip()]
        return f"{listed[1]}=[{','.join(n if _WORD.fullmatch(n) else in_quotes(n) for n in names)}]"
    key, equals, value = word.partition("=")
    if equals and _NAME.fullmatch(key):
        meant = value[:1] in ("'", '"') or value == "null" or "${" in value or (sweeps and "," in value)
        return word if meant or _WORD.fullmatch(value) else f"{key}={in_quotes(value)}"
    if not equals or _PLAIN.fullmatch(value) or _MEANT.match(value):
        return word
    names_a_place = "/" in value or value.startswith("~") or key.rpartition(".")[2] in _PLACES
    if not names_a_place and value.isascii():
        return word
    if sweeps and "," in value and not key.startswith(_NOT_SWEPT):
        place = Path(value).expanduser()
        # `dataset.root=a,b` are two places; a comma in a folder's name is known by the folder that is there
        if not names_a_place or not (place.exists() or ("," in str(place.parent) and place.parent.exists())):
            return word
    return f"{key}={in_quotes(value)}"


def in_quotes(text: str) -> str:
    """A value as Hydra's grammar takes any: backslashes count only before a quote, or at the end."""
    escaped = re.sub(r"(\\*)(?='|$)", lambda found: 2 * found[1], text).replace("'", "\\'")
    return f"'{escaped}'"
