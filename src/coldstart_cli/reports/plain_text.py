"""The console that reports print on, and text from elsewhere that it shows as it is."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from coldstart_cli.safe_text import printable


def plain(text: str, style: str = "") -> Text:
    """Text as it is: no markup, and nothing that a terminal would obey."""
    return Text(printable(text), style)


def terminal(width: int = 240) -> Console:
    """Standard output; a file or a pipe, which has no width of its own, gets one that cuts nothing."""
    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=width)
