"""Text of others in a terminal: as it is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from coldstart_cli.reports.plain_text import plain


@pytest.mark.parametrize(
    ("text", "shown"), [("[red]x[/red]", "[red]x[/red]"), ("\x1b[31mx", r"\x1b[31mx"), ("[/]", "[/]")]
)
def test_plain_text_obeys_no_markup_and_no_escape(text: str, shown: str) -> None:
    stream = io.StringIO()
    Console(file=stream, highlight=False).print(plain(text, "bold"))
    assert stream.getvalue() == f"{shown}\n"
