"""Docstrings and tables as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from coldstart_cli.config.signatures import documented

_SECTION = re.compile(r"^(Args|Attributes|Example|Raises|Returns|Yields):$")
_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"[\\*_\[\]]")
_PAPER = re.compile(r"\barXiv:(\d{4}\.\d{4,5})")
_BULLET = "- "


class Unsaid(ValueError):
    """Something that has no sentence where its page needs one."""


def needed(text: str, what: str) -> str:
    """The sentence, where there is one.

    Raises:
        Unsaid: where there is none.
    """
    if not text.strip():
        raise Unsaid(f"{what}: has no sentence; write it where it is defined")
    return text


def first_sentence(text: str) -> str:
    """Of a paragraph, or of all its lines."""
    return re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0]


def escaped(text: str) -> str:
    """Prose as Markdown shows it literally, but for `code`, and with links to papers."""
    parts = [part if part.startswith("`") else _prose(part) for part in _CODE.split(text)]
    return "".join(parts)


def _prose(text: str) -> str:
    literal = _SPECIAL.sub(r"\\\g<0>", html.escape(text, quote=False).replace("|", "&#124;"))
    return _PAPER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", literal)


def cell(text: str) -> str:
    """Text in a table: a bar would end its cell, in code too."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(code(part[1:-1]) if part.startswith("`") else _prose(part) for part in parts)


def code(text: str) -> str:
    """Text as code in a table, or nothing."""
    if not text:
        return ""
    shown = html.escape(text, quote=False)
    for special in "|*_[]":
        shown = shown.replace(special, f"&#{ord(special)};")
    return f"<code>{shown}</code>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are Markdown already; `kind` is a class of the style sheet."""
    lines = [heads, ["---"] * len(heads), *rows]
    text = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    return f'<div class="{kind}" markdown>\n\n{text}\n\n</div>' if kind else text


def fenced(text: str, language: str = "text") -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def sections(docstring: str) -> dict[str, str]:
    """The parts of a docstring by their headings; what stands before any is under the empty one."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in docstring.splitlines():
        if heading := _SECTION.match(line):
            name = heading[1]
        elif line and not line[0].isspace() and name:
            name = ""
        if not heading:
            found.setdefault(name, []).append(line)
    return {name: "\n".join(lines).strip("\n") for name, lines in found.items()}


def body(docstring: str) -> str:
    """What a docstring says beside its sections, as Markdown: what is indented by four is code."""
    text = sections(docstring)[""]
    return "\n\n".join(_blocks(text.splitlines()))


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    """Code where lines are indented by four, and lists and paragraphs as they are."""
    in_list = False
    paragraphs: list[tuple[str, str]] = []
    for line in lines:
        indented = line.startswith("    ") and not in_list
        kind = "blank" if not line.strip() else "code" if indented else "prose"
        in_list = kind != "blank" and (line.startswith(_BULLET) or (in_list and line[:1] == " "))
        paragraphs.append((kind, line))
    for kind, group in groupby(paragraphs, key=lambda pair: pair[0]):
        block = [line for _, line in group]
        if kind == "code":
            yield fenced("\n".join(line[4:] for line in block))
        elif kind == "prose":
            yield _paragraph(block)


def _paragraph(lines: Sequence[str]) -> str:
    shown: list[str] = []
    for line in lines:
        if line.startswith(_BULLET):
            # A list needs an empty line before it where a sentence leads to it.
            shown += [""] if shown and not shown[-1].startswith((_BULLET, " ")) else []
            shown.append(f"{_BULLET}{escaped(line[len(_BULLET) :])}")
        else:
            shown.append(("    " if line[:1] == " " else "") + escaped(line.strip()))
    return "\n".join(shown)


def said_of(docstring: str, section: str) -> dict[str, str]:
    """Name -> its description in a section such as `Args`."""
    return documented(docstring, (f"{section}:",))
