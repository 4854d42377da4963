"""A question before what cannot be undone."""

from __future__ import annotations

import io
import sys

import pytest

from coldstart_cli.cli.confirming import confirmed
from coldstart_cli.errors import RequestError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_only_a_yes_agrees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, agreed: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert confirmed("remove x\x1b", False, "rm") is agreed
    err = capsys.readouterr().err
    assert err.startswith("remove x\\x1b? [y/N] ") and ("nothing was removed" in err) is not agreed


def test_without_a_terminal_it_is_refused_unless_yes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert confirmed("remove x", True, "rm")
    with pytest.raises(
        RequestError, match=r"^rm: would remove x, and nobody can be asked here; --yes does it$"
    ):
        confirmed("remove x", False, "rm")
