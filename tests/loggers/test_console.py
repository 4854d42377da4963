"""What a terminal shows while a run goes, and what a file gets instead."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from coldstart_cli.loggers import console as console_module
from coldstart_cli.loggers.console import Console

CURSOR = re.compile(r"\x1b\[\??[0-9;]*[A-Za-z]")


class Screen(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Ascii(Screen):
    encoding = "ascii"


Shown = Callable[..., tuple[Console, Screen]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shown:
    """A console and what it writes to: shown(width=80, height=40, rows=4, quiet=False, screen=Screen())."""

    def make(
        width: int = 100, height: int = 40, rows: int = 4, quiet: bool = False, screen: Screen | None = None
    ) -> tuple[Console, Screen]:
        screen = Screen() if screen is None else screen
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setattr(
            console_module, "Terminal", lambda stderr: Terminal(file=screen, width=width, height=height)
        )
        return Console(quiet, tmp_path, every_seconds=1000.0, curve_rows=rows), screen

    return make


def trained(console: Console, steps: int = 40) -> None:
    console.start("training", steps, 0)
    for step in range(1, steps + 1):
        console.metrics(step, {"loss": 1 / step, "accuracy": 0.9})
        if step % 10 == 0:
            console.metrics(step, {"validation_accuracy": step / 100})
        console.advance(step)


def lines_of(screen: Screen) -> list[str]:
    return [CURSOR.sub("", line).rstrip() for line in screen.getvalue().replace("\r", "\n").split("\n")]


def curves_of(screen: Screen) -> list[str]:
    """What stays: title, four rows and axis."""
    return lines_of(screen)[-7:-1]


def test_console_draws_both_curves_under_the_bar(shown: Shown) -> None:
    console, screen = shown()
    trained(console)
    console.close()
    lines = lines_of(screen)
    assert any(line.startswith("training") and "40/40" in line for line in lines)
    titles = [line.split() for line in lines if "validation_accuracy 0.4" in line and "40/40" not in line]
    assert titles[-1] == ["loss", "0.025", "validation_accuracy", "0.4"]
    title, top, *_, bottom, axis = curves_of(screen)  # the curves stay, the bar does not
    assert title.split() == titles[-1]
    assert (top.split()[0], bottom.split()[0], axis.split()) == ("1", "0.025", ["1", "40", "1", "40"])
    assert any(0x2800 < ord(c) < 0x2900 for c in top)


def test_console_evaluating_has_a_bar_and_no_curve(shown: Shown) -> None:
    console, screen = shown()
    trained(console)
    console.start("evaluating", 5, 0)
    screen.truncate(0)
    console.advance(5)
    console.close()
    assert "5/5" in screen.getvalue()
    assert "loss" not in screen.getvalue()


@pytest.mark.parametrize(
    ("width", "titles"),
    [(100, ["loss", "validation_accuracy"]), (60, ["validation_accuracy"]), (34, ["validation_accuracy"])],
)
def test_console_shows_the_curves_that_have_room(shown: Shown, width: int, titles: list[str]) -> None:
    console, screen = shown(width=width)
    trained(console)
    console.close()
    final = curves_of(screen)
    assert [word for word in final[0].split() if word.isidentifier()] == titles
    assert all(len(line) <= width for line in final)


@pytest.mark.parametrize("changes", [{"rows": 0}, {"height": 6}, {"width": 19}])
def test_console_without_room_or_rows_has_the_bar_alone(shown: Shown, changes: Mapping[str, int]) -> None:
    console, screen = shown(**changes)
    trained(console)
    console.close()
    assert "tra" in screen.getvalue()
    assert "│" not in screen.getvalue()


def test_console_draws_in_ascii_where_nothing_else_is_known(shown: Shown) -> None:
    console, screen = shown(screen=Ascii())
    trained(console)
    console.close()
    assert all(" |" in line for line in curves_of(screen)[1:-1])
    assert ":" in "".join(curves_of(screen))
    assert screen.getvalue().isascii()


def test_console_without_colour_draws_the_same_lines(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    console, screen = shown()
    monkeypatch.setenv("NO_COLOR", "1")
    trained(console)
    console.close()
    assert "validation_accuracy" in screen.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*m", screen.getvalue().replace("\x1b[0m", ""))


def test_console_shows_names_as_they_are(shown: Shown) -> None:
    for screen in (None, io.StringIO()):
        console, screen = shown(screen=screen)  # type: ignore[arg-type]
        console.start("training", 2, 0)
        console.metrics(1, {"[red]a\x1b[2J$x^2$": 0.5})
        console.advance(2)
        console.close()
        assert "[red]a\\x1b[2J$x^2$ 0.5" in screen.getvalue()
        assert "\x1b[2J" not in screen.getvalue()


def test_console_that_goes_on_shows_what_was_before(shown: Shown, tmp_path: Path) -> None:
    rows = [{"step": 10, "loss": 8.0}, {"step": 10, "validation_mse": None}, {"step": 20, "loss": 4.0}]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    console, screen = shown()
    console.start("training", 40, 20)
    console.metrics(30, {"loss": 2.0})
    console.close()
    _, top, *_, bottom, _ = curves_of(screen)
    assert (top.split()[0], bottom.split()[0]) == ("8", "2")


def test_console_quiet_says_nothing(shown: Shown) -> None:
    for screen in (None, io.StringIO()):
        console, screen = shown(quiet=True, screen=screen)  # type: ignore[arg-type]
        trained(console)
        console.close()
        assert screen.getvalue() == ""


def test_console_elsewhere_writes_plain_lines(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    for screen, dumb in ((io.StringIO(), False), (Screen(), True)):
        console, _ = shown(screen=screen)  # type: ignore[arg-type]
        if dumb:
            monkeypatch.setenv("TERM", "dumb")
        trained(console)
        console.summary(40, {"accuracy": 1.0})
        console.close()
        assert screen.getvalue() == "training 40/40  loss 0.025  accuracy 0.9  validation_accuracy 0.4\n"


def test_console_survives_numbers_that_are_not_finite(shown: Shown) -> None:
    console, screen = shown()
    console.start("training", 4, 0)
    for step, value in enumerate((math.inf, math.nan, 1e308, -1e308), 1):
        console.metrics(step, {"loss": value})
        console.metrics(step, {"validation_mse": math.inf})
        console.metrics(step, {})
    console.close()
    assert "validation_mse inf" in screen.getvalue()
