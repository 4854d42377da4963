"""Options of pytest for the laws: `--strategy`, `--dataset` and `--override`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("coldstart", "laws of strategies (--pyargs coldstart_cli.testing)")
    group.addoption(
        "--strategy", action="append", default=[], metavar="FILE",
        help="strategy to try: a YAML file or the name of a config; may be given again",
    )  # fmt: skip
    group.addoption(
        "--dataset", metavar="FILE", help="config of a data set to try it on; small images if left out"
    )
    group.addoption(
        "--override", action="append", default=[], metavar="KEY=VALUE",
        help="a further override as for `coldstart train`, such as trust=[my_package]; may be given again",
    )  # fmt: skip
