"""Loggers that fail: named once, told no more, and the run goes on."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from coldstart_cli.loggers.logger import Tolerated


class Failing:
    """Fails at the calls it is told to; remembers all."""

    def __init__(self, *at: str) -> None:
        self.at, self.calls = at, list[str]()

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.at:
            raise OSError("no\nroute to [host]")

    def start(self, title: str, total: int, done: int) -> None:
        self._called("start")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._called("metrics")

    def advance(self, done: int) -> None:
        self._called("advance")

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self._called("summary")

    def close(self) -> None:
        self._called("close")


def tell_all(logger: Tolerated) -> None:
    logger.start("training", 2, 0)
    logger.metrics(1, {"loss": 1.0})
    logger.advance(1)
    logger.summary(2, {"accuracy": 1.0})


@pytest.mark.parametrize("at", ["start", "metrics", "advance", "summary"])
def test_logger_that_fails_is_named_once_told_no_more_and_closed(at: str) -> None:
    failing = Failing(at, "close")
    logger = Tolerated("logger.x", failing)
    with pytest.warns(RuntimeWarning) as warned:
        tell_all(logger)
    assert [str(w.message) for w in warned] == [
        "logger.x: OSError: no route to [host]; the run continues without it"
    ]
    logger.close()  # a warning would be an error here
    order = ["start", "metrics", "advance", "summary"]
    assert failing.calls == [*order[: order.index(at) + 1], "close"]


def test_logger_that_fails_to_close_is_named() -> None:
    logger = Tolerated("logger.x", Failing("close"))
    tell_all(logger)
    with pytest.warns(RuntimeWarning, match=r"^logger\.x: OSError"):
        logger.close()


def test_logger_is_no_shelter_from_a_signal() -> None:
    class Interrupted(Failing):
        def advance(self, done: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tolerated("logger.x", Interrupted()).advance(1)
