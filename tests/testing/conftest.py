"""The plug-in can be imported."""

from __future__ import annotations

import pytest

from tests.kit.plugin import OUTSIDE


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(OUTSIDE)
