"""CLINC150 in small: made-up files of its shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Settings = Callable[[str], dict[str, Any]]


DOMAINS = {d: [f"{d}{i}" for i in range(4)] for d in ("bank", "home", "work", "travel")}


@pytest.fixture
def clinc(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """Four domains of four intents: 6 training, 4 validation and 5 test utterances each."""
    intents = [intent for names in DOMAINS.values() for intent in names]
    data = {
        part: [[f"{intent} {part} {i}", intent] for intent in intents for i in range(n)]
        for part, n in (("train", 6), ("val", 4), ("test", 5))
    }
    (tmp_path / "data_full.json").write_text(json.dumps({**data, "oos_test": [["what", "oos"]]}))
    (tmp_path / "domains.json").write_text(json.dumps(DOMAINS))
    changes = {"root": str(tmp_path), "new_domain": "work", "n_query": 3, "known_duplicates": []}
    return {**settings("clinc150"), **changes}
