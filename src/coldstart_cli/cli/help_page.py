"""What `--help` and `explain` print: keys with type, default and a line, of the configs that are chosen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from coldstart_cli.cli.parsing import Parser, Words, config_dirs
from coldstart_cli.cli.surroundings import EXIT_CODES
from coldstart_cli.config.catalog import READ_BY_ONE, Entry, catalogue, search_roots
from coldstart_cli.config.key import CONFIG, Key
from coldstart_cli.config.keys import explained, of_command, of_entry, typed_choices, unreadable
from coldstart_cli.config.outline import Groups, defaults, entry
from coldstart_cli.safe_text import printable

WIDTH = 110


def page(parser: Parser, words: Sequence[str]) -> str:
    """The help of a command: what it does, its flags, the keys it reads, examples.

    Args:
        words: those typed; where they choose configs, the keys of these are explained.
    """
    parts = [parser.format_help().rstrip()]
    if parser.words is not None and parser.words.shown:
        groups = catalogue(search_roots(config_dirs(words)))
        parts += sections(parser.words, words, groups)
    if parser.examples:
        parts.append("\n".join(["examples:", *(f"  {example}" for example in parser.examples)]))
    if parser.commands and parser.name == parser.prog:
        codes = [f"  {code:3}  {said}" for code, said in EXIT_CODES.items()]
        parts.append("\n".join(["exit codes:", *codes]))
    return "\n\n".join(parts) + "\n"


def sections(words: Words, typed: Sequence[str], groups: Groups) -> list[str]:
    """The keys that a command reads, under a heading for each part."""
    parts = []
    if own := words.own():
        parts.append("keys:\n" + table(own))
    train = entry(groups, "", "train")
    chosen = typed_choices(typed, groups) if words.composes else []
    if words.plans and not chosen:
        parts += [
            f"keys of {plan.name} ({_file(plan)}):\n{table(explained(of_command(plan)))}"
            for name in words.plans
            for plan in groups[""]
            if plan.name == name
        ]
    if words.composes and words.roots and train and not chosen:
        named = [(c, w.value.strip("[]")) for c, w in defaults(train.path) if c in words.roots]
        chosen = [(found, "") for c, name in named if (found := entry(groups, c, name))]
    parts += [section(found, groups, package) for found, package in chosen]
    if words.composes:
        first = [choice for choice, _ in defaults(train.path) if choice in groups] if train else []
        known = [g for g in dict.fromkeys([*first, *groups]) if g not in ("", *READ_BY_ONE) and "/" not in g]
        known = [g for g in known if not words.roots or g in words.roots]
        parts.append(
            "configs to choose from, by NAME as `coldstart ls` lists them:\n"
            + f"  {'  '.join(f'{g}=NAME' for g in known)}"
            + f"\n\nThe keys of a config: this command with {known[0]}=NAME before --help, or "
            f"coldstart explain {known[0]}/NAME."
            + ("" if "train" in words.plans or words.roots else " All others: coldstart explain train.")
        )
    return parts


def section(found: Entry, groups: Groups, package: str = "", *, full: bool = False) -> str:
    """A config: its address, its description, and its keys."""
    keys = of_entry(found, groups, package)
    lines = [f"{found.address}: {found.description or _file(found)}"]
    for target in map(printable, unreadable(keys)):
        lines.append(f"  {target}: its source is not found, so no types; keys as in {_file(found)}")
    rows = explained(keys)
    return "\n".join([*lines, table(rows, full=full) if rows else "  no keys of its own"])


def table(keys: Sequence[Key], *, full: bool = False) -> str:
    """A line for each key: as it is typed with its default, its type and range, what it does.

    Args:
        full: both what the docstring and what the YAML file says, where they differ.
    """
    heads = [f"  {key.name}" + ("" if _is_node(key) else f"={_short(key.default)}") for key in keys]
    first = max((len(head) for head in heads if len(head) <= 40), default=0) + 2
    second = min(max((len(key.type) for key in keys), default=0), 28) + 2
    lines: list[str] = []
    for head, key in zip(heads, keys, strict=True):
        said = key.said if full else [key.short]
        cells = [(head, 0, first), (key.type, first, second)]
        left = ""
        for text, start, width in cells:
            left = f"{left:<{start}}{text}"
            if len(left) > start + width - 2:  # too long for its column
                lines.append(left)
                left = ""
        indent = " " * (first + second)
        left = f"{left:<{first + second}}"
        for text in [text for text in said if text] or [""]:
            wrapped = textwrap.wrap(printable(text), WIDTH, initial_indent=left, subsequent_indent=indent)
            lines += wrapped or [left.rstrip()]
            left = indent
    return "\n".join(lines)


def _is_node(key: Key) -> bool:
    return not key.default and key.type.startswith(CONFIG)


def _short(value: str) -> str:
    text = printable(value)
    return text if len(text) <= 40 else f"{text[:36]}...{text[-1]}"


def _file(found: Entry) -> str:
    return f"{found.address}.yaml"
