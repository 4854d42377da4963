"""`coldstart explain`: what a config sets, what a key means, or what an error with a code says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from coldstart_cli.cli import error_pages
from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import Namespace, Parser, Words, a_topic
from coldstart_cli.config.catalog import Entry, catalogue, search_roots
from coldstart_cli.config.key import Key
from coldstart_cli.config.outline import Groups
from coldstart_cli.errors import RequestError, suggestion


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "explain",
        run,
        "what a config sets, a key means, or an error such as (E12) says",
        "Without a choice such as dataset=omniglot, a key is explained for every config that has it.",
        examples=(
            "coldstart explain strategy/maml",
            "coldstart explain strategy.inner_lr",
            "coldstart explain dataset.n_query dataset=omniglot",
            "coldstart explain train",
            "coldstart explain E12   # an error that ends in (E12)",
        ),
    )
    parser.place(
        "what", metavar="CONFIG-OR-KEY", type=a_topic, help="strategy/maml, dataset.n_query, train, E12"
    )
    parser.key_values(Words(shown=False))
    parser.config_dir()


def run(arguments: Namespace) -> int:
    """Prints a config's keys, a key as each config has it, or the page of an error.

    Raises:
        RequestError: for what is none of these.
    """
    if error_pages.CODE.fullmatch(arguments.what.strip("()").upper()):
        emit(error_pages.told(arguments.what))
        return 0
    from coldstart_cli.cli.help_page import section
    from coldstart_cli.config.keys import typed_choices

    groups = catalogue(search_roots(arguments.config_dir))
    known = {entry.address: entry for entries in groups.values() for entry in entries}
    named = arguments.what.replace("=", "/", 1).removesuffix(".yaml")
    if named in known:
        emit(section(known[named], groups, full=True) + "\n")
        return 0
    key = arguments.what.partition("=")[0]
    if ("/" in named and "." not in key) or key in groups:
        choices = {name: None for name in known if name.startswith(f"{key.partition('/')[0]}/")} or known
        raise RequestError(f"{arguments.what}: there is no such config; {suggestion(named, choices)}")
    for word in arguments.overrides:
        if not typed_choices([word], groups):
            raise RequestError(f"{word}: chooses no config; write dataset=NAME (coldstart ls dataset)")
    emit(_told(key, arguments.overrides, groups))
    return 0


def _told(key: str, words: Sequence[str], groups: Groups) -> str:
    """A key as each config has it; where it is equal in several, it is told once."""
    from coldstart_cli.cli.help_page import table
    from coldstart_cli.config.keys import explained, of_entry

    places = {entry: explained(of_entry(entry, groups, at)) for entry, at in _places(key, words, groups)}
    same: dict[Key, list[Entry]] = {}
    for entry, keys in places.items():
        for found in keys:
            if found.name == key or found.name.startswith(f"{key}."):
                same.setdefault(_alike(found), []).append(entry)
    if not same:
        names = {found.name for keys in places.values() for found in keys}
        names |= {entry.address for entry in groups.get("", ())}
        raise RequestError(f"{key}: there is no such key; {suggestion(key, names)}")
    tables: dict[tuple[str, ...], list[Key]] = {}
    for found, entries in same.items():
        tables.setdefault(tuple(entry.address for entry in entries), []).append(found)
    parts = [f"{', '.join(addresses)}\n{table(keys, full=True)}" for addresses, keys in tables.items()]
    return "\n\n".join(parts) + "\n"


def _alike(key: Key) -> Key:
    """A key without the comment that only repeats its line."""
    return replace(key, comment="") if key.comment.casefold() == key.line.casefold() else key


def _places(key: str, words: Sequence[str], groups: Groups) -> list[tuple[Entry, str]]:
    """The configs in which a key may stand, each with its package."""
    from coldstart_cli.config.keys import typed_choices

    root = key.partition(".")[0]
    plans = [(entry, "") for entry in groups.get("", ())]
    group = "strategy" if root == "baseline" else root
    if group not in groups:
        return plans
    package = root if root != group else ""
    chosen = [(entry, package) for entry, _ in typed_choices(words, groups) if entry.group == group]
    return chosen or [(entry, package) for entry in groups[group]]
