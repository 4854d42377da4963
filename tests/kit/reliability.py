"""Faults by row: how often each is tried, how often it was not withstood, and docs/reliability.md.

A test of a row is marked `fault("R1")` and asks the fixture `tries` how often to try. `make test` tries a
tenth; `pytest --full` (`make torture`) all, and `--write-reliability` then writes the table.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.kit.places import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"

ROWS = {
    "R1": "kill -9 at random moments",
    "R2": "stop and resume at every step",
    "R3": "SIGTERM, SIGINT",
    "R4": "one flipped bit in a checkpoint",
    "R5": "a truncated, empty, missing checkpoint, a directory in its place",
    "R6": "disk full, read-only, no permission",
    "R7": "NaN or infinity in loss, gradient, data",
    "R8": "out of memory",
    "R9": "a sweep's job raises, exits, is killed, crashes, hangs",
    "R10": "a sweep's parent is killed",
    "R11": "concurrent writers",
    "R12": "downloads that fail",
    "R13": "surroundings: locale, HOME, terminal, umask, time zone",
    "R14": "another number of threads on resume",
    "R15": "the same seed twice, in fresh processes",
    "R16": "an old run directory",
    "R17": "long runs: memory, open files, time a step",
    "R18": "a bundle's writer is killed at every write and rename",
    "R19": "two `adapt`s into one bundle, `adapt` while `predict` reads",
    "R20": "other weights at `model.path`, a copied or moved run, sweep, bundle",
    "S1": "fuzzed command lines and YAML",
    "S2": "a hostile `_target_`",
    "S3": "a hostile pickle, npz, pt, safetensors header",
    "S4": "YAML bombs, deep nesting, interpolations in a foreign config",
    "S5": "hostile archives",
    "S6": "hostile images",
    "S7": "hostile names and paths",
    "S8": "injection into CSV, HTML and terminal",
    "S9": "forbidden calls in the sources",
}


@dataclass(slots=True)
class Tries:
    """How often this session tries a fault, and what came of it.

    Attributes:
        full: all tries rather than a tenth.
        n: tries made; a test adds to it, or calls `of`.
        failures: tries that were not withstood, in words.
    """

    full: bool
    n: int = 0
    failures: list[str] = field(default_factory=list)

    def of(self, quick: int, full: int) -> range:
        """The tries to make: `full` of them, or `quick`."""
        n = full if self.full else quick
        self.n += n
        return range(n)


@pytest.fixture
def tries(request: pytest.FixtureRequest) -> Iterator[Tries]:
    """Counts the tries of a row; a test appends what was not withstood and then fails with all of it."""
    made = Tries(request.config.getoption("--full"))
    yield made
    request.node.user_properties.append(("tries", made.n))
    request.node.user_properties.append(("failures", len(made.failures)))
    assert not made.failures, "\n".join(made.failures)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="all tries of every fault, not a tenth")
    parser.addoption("--write-reliability", action="store_true", help=f"write {PAGE.name}")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when == "setup":
        rows = [str(mark.args[0]) for mark in item.iter_markers("fault")]
        unknown = set(rows) - ROWS.keys()
        assert not unknown, f"{item.nodeid}: no row {unknown} in tests/reliability.py"
        item.user_properties += [("row", row) for row in rows]


class Table:
    """Collects what every worker reports; lives in the process that writes the page."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        row = told.get("row")
        if row is None:
            return
        entry = self.rows.setdefault(str(row), {"tries": 0, "failures": 0, "seconds": 0.0, "skipped": 0})
        entry["seconds"] += report.duration
        if report.when == "call" and report.skipped:
            entry["skipped"] += 1
        if report.when == "teardown":
            entry["tries"] += int(str(told.get("tries", 1)))
            entry["failures"] += int(str(told.get("failures", 0)))
        if report.when == "call" and report.failed:
            entry["failures"] += 1

    def pytest_sessionfinish(self) -> None:
        PAGE.write_text(self.page(), encoding="utf-8")

    def page(self) -> str:
        lines = [
            "# Reliability",
            "",
            "Written by `make torture`, which tries every fault in full; `make test` tries a tenth of each.",
            "A failure is a try that was not withstood. Seconds are of one of two workers, on",
            f"{platform.machine()}, Python {platform.python_version()}.",
            "",
            "| row | fault | tries | failures | seconds |",
            "| --- | --- | ---: | ---: | ---: |",
        ]
        before = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
        for row, fault in ROWS.items():
            entry = self.rows.get(row)
            if entry is None:  # not tried in this session: what the last one found stands
                kept = [line for line in before if line.startswith(f"| {row} |")]
                lines += kept or [f"| {row} | {fault} | not run |  |  |"]
                continue
            cells = [f"{entry[name]:.0f}" for name in ("tries", "failures", "seconds")]
            lines.append(f"| {row} | {fault} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-reliability") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(), "reliability-table")
