"""Text of others in a table of rich."""

from __future__ import annotations

from rich.text import Text

from coldstart_cli.safe_text import printable


def plain(text: str, style: str = "") -> Text:
    """Text as it is: no markup, and nothing that a terminal would obey."""
    return Text(printable(text), style)
