"""A page for each group of configs, and for the keys of each command that has a YAML file of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from coldstart_cli.config.catalog import READ_BY_ONE, SEARCH, Entry
from coldstart_cli.config.key import Key
from coldstart_cli.config.keys import explained, of_entry
from coldstart_cli.config.outline import Groups, defaults
from coldstart_cli.files.regular import read_bytes
from reference.markdown import Unsaid, cell, code, escaped, fenced, needed, table

GROUPS: Mapping[str, str] = {
    "strategy": "How a model learns from source tasks and adapts to a new one.",
    "dataset": "What tasks are drawn from: data that come with the package, published ones, and your own "
    "(arrays, image_folder, tabular, text).",
    "model": "The encoder: inputs to features. The head belongs to the strategy.",
    "optimizer": "The outer step: what moves the weights that are learned on source tasks.",
    "hardware": "Device, threads, processes, precision and determinism.",
    "evaluation": "Which tasks, shots and steps are scored, and what is measured beside them.",
    "logger": "Where training metrics go beside the run directory; several: `logger=[console,wandb]`.",
    "experiment": "Settings that belong together, such as those of a paper. What is typed after it wins.",
    "prompt": "How a language model is asked, as a part of a model: `prompt@model.prompt=NAME`.",
    "candidates": "What `coldstart choose` tries on inputs of each layout. `choose` alone reads these files.",
    "hydra/launcher": "Where the jobs of `-m` run.",
}
"""What a group is for; those of `search` are shown with their strategies."""


def file_of(group: str) -> str:
    """The page of a group: `configs/dataset.md`."""
    return f"configs/{group.replace('/', '_')}.md"


def keys_of(plan: str) -> str:
    """The page of the keys of a command's own file: `keys/train.md`."""
    return f"keys/{plan}.md"


def group_pages(groups: Groups) -> dict[str, str]:
    """A page for each group but those that have pages of their own.

    Raises:
        Unsaid: for a group, a config or a key without a sentence.
    """
    if unknown := [name for name in groups if name not in ("", SEARCH, *GROUPS)]:
        raise Unsaid(f"{unknown[0]}: this group has no sentence in reference/configs.py; write one")
    plain = [name for name in groups if name not in ("", SEARCH, "strategy")]
    return {file_of(name): _group(name, groups) for name in plain} | {
        keys_of(plan.name): _plan(plan, groups) for plan in groups[""]
    }


def _group(name: str, groups: Groups) -> str:
    entries = groups[name]
    rows = [[f"[`{e.name}`](#{anchor(e.name)})", cell(needed(e.description, e.address))] for e in entries]
    parts = [f"# {name}", GROUPS[name], table(("name", "what"), rows)]
    for entry in entries:
        parts += [f"## {entry.name} {{ #{anchor(entry.name)} }}", *head(entry)]
        parts.append(source(entry) if name in READ_BY_ONE else _keys(entry, groups))
    return "\n\n".join(parts) + "\n"


def anchor(name: str) -> str:
    """Of a config on its group's page."""
    return re.sub(r"\W", "-", name)


def _keys(entry: Entry, groups: Groups) -> str:
    keys = explained(of_entry(entry, groups))
    return key_table(keys) if keys else "It has no keys of its own."


def _plan(plan: Entry, groups: Groups) -> str:
    """The keys of a command's own file, those of each part under a heading."""
    keys = explained(of_entry(plan, groups))
    parts: dict[str, list[Key]] = {}
    for key in keys:
        nested = any(other.name.startswith(f"{key.name}.") for other in keys)
        part = key.name if nested else key.name.rpartition(".")[0]
        parts.setdefault("" if part == plan.name else part, []).append(key)
    choices = [f"{choice}={w.value}" for choice, w in defaults(plan.path) if choice and "hydra" not in choice]
    chosen = f"Chosen unless you say otherwise: {', '.join(code(word) for word in choices)}."
    blocks = [f"# Keys of {plan.name}", *head(plan), *([chosen] if choices else [])]
    for part, found in parts.items():
        blocks += [*([f"## {part}"] if part else []), key_table(found)]
    return "\n\n".join(blocks) + "\n"


def head(entry: Entry) -> Iterator[str]:
    """The comment at the head of a file, a paragraph for each of its own."""
    needed(entry.description, entry.address)
    paragraphs = "\n".join(entry.head).split("\n\n")
    first, *rest = paragraphs[0].split("\n")
    yield escaped(first) + ("" if first.endswith((".", ":")) else ".")
    for text in ("\n".join(rest), *paragraphs[1:]):
        if text.strip():
            yield escaped(text)


def key_table(keys: Sequence[Key]) -> str:
    """A row for each key: as it is typed, its default, its type and range, what it means.

    Raises:
        Unsaid: for a key without a sentence or a type.
    """
    rows = []
    for key in keys:
        needed(key.type, f"{key.name} (its type)")
        said = [cell(needed(text, key.name)) for text in key.said]
        also = "".join(f'<span class="also">{text}</span>' for text in said[1:])
        # In capitals it is what the value stands for: bundle=DIR has no default.
        stands_for = key.default.isupper()
        typed = code(f"{key.name}={key.default}" if stands_for else key.name).replace(".", ".<wbr>")
        default = "" if stands_for else code(key.default).replace("/", "/<wbr>").replace("</<wbr>", "</")
        rows.append([typed, default, cell(key.type), said[0] + also])
    return table(("key", "default", "type and range", "meaning"), rows, "settings")


def source(entry: Entry) -> str:
    """A file as it is, without its head."""
    lines = read_bytes(entry.path).decode().splitlines()
    return fenced("\n".join(line for line in lines if not line.startswith("#")).strip("\n"), "yaml")


def chosen_by(group: str, name: str, groups: Groups) -> list[str]:
    """The experiments that choose a config."""
    return [
        entry.name
        for entry in groups["experiment"]
        if any((choice, w.value) == (group, name) for choice, w in defaults(entry.path))
    ]
