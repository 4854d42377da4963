"""What `coldstart explain E12` prints: the help of an error that ends in a code, from docs/errors.md.

Codes stand at the ends of messages, where they are raised: `... (E12)`. Imports nothing heavy.
"""

from __future__ import annotations

import re
import textwrap
from functools import cache

from coldstart_cli.errors import RequestError
from coldstart_cli.package import errors_page

WIDTH = 100
"""Characters of a line."""
CODE = re.compile(r"E\d\d")
_HEADING = re.compile(r"^## (E\d\d): (.+)$", re.MULTILINE)


@cache
def pages() -> dict[str, str]:
    """Code -> its section, as it stands in the page.

    Raises:
        RequestError: where the page is not there.
    """
    text = errors_page().read_text(encoding="utf-8")
    found = list(_HEADING.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    return {match[1]: text[match.start() : end].strip() for match, end in zip(found, ends, strict=True)}


def told(code: str) -> str:
    """The section of a code as plain text, with its examples indented.

    Raises:
        RequestError: for a code that there is not.
    """
    known = pages()
    code = code.strip("()").upper()
    if code not in known:
        raise RequestError(f"{code}: no error has this code; known: {', '.join(known)}")
    lines, inside = [], False
    for line in known[code].removeprefix("## ").splitlines():
        if line == "```":
            inside = not inside
        else:
            lines.append(f"    {line}" if inside else textwrap.fill(_plain(line), WIDTH))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _plain(line: str) -> str:
    """A line without Markdown: links as where they lead to from the repository's top."""
    line = re.sub(r"\[[^\]]*\]\(([^)]*)\)", r"docs/\1", line)
    return re.sub(r"\*\*(.+?)\*\*", r"\1", line).replace("`", "")
