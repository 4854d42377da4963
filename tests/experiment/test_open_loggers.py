"""Loggers of a command: opened together, closed whatever happens, refused before training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import open_loggers
from coldstart_cli.experiment.open_loggers import opened


class Heard:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def start(self, title: str, total: int, done: int) -> None:
        self.told.append(title)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        self.told.append("closed")


def config(*names: str) -> dict[str, Any]:
    return {"logger": {name: {"_target_": "mine.Logger"} for name in names}, "trust": []}


def test_loggers_are_told_and_closed_even_where_the_block_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, own = Heard(), Heard()
    monkeypatch.setattr(open_loggers, "build", lambda *args: own)
    with (
        pytest.raises(ZeroDivisionError),
        opened(config("a"), tmp_path, watcher, quiet=True, resumed=False) as loggers,
    ):
        for logger in loggers:
            logger.start("training", 1, 0)
        raise ZeroDivisionError
    assert watcher.told == own.told == ["training", "closed"]


def test_a_logger_that_cannot_be_opened_is_refused_and_the_others_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Heard()

    def build(node: object, key: str, *args: object) -> Heard:
        if key == "logger.b":
            raise OSError("no\nroute")
        return first

    monkeypatch.setattr(open_loggers, "build", build)
    with (
        pytest.raises(RequestError, match=r"^logger\.b: OSError: no route; fix it, or train without it"),
        opened(config("a", "b"), tmp_path, None, quiet=True, resumed=False),
    ):
        pytest.fail("the block was entered")
    assert first.told == ["closed"]


def test_ranks_but_the_first_have_no_loggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loggers.ranks, "first", lambda: False)
    with opened(config("a"), tmp_path, Heard(), quiet=True, resumed=False) as loggers:
        assert loggers == []
