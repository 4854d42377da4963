"""`coldstart label-next` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.kit.adapted import call
from tests.kit.places import REPOSITORY


def test_what_it_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPOSITORY / "tests" / "data" / "flat_layout" / "bundle", "b")
    Path("my pool.csv").write_text("a,b\n1,2\n1,2\n9,-3\n5,0\n")
    code, out, err = call(capsys, "label-next", "bundle=b", "input=my pool.csv", "n=2", "output=o 1.csv")
    assert code == 0, err
    assert out.startswith(
        "o 1.csv: 2 rows to label, the least sure and different, the most useful first\n"
        "of 4 rows of the pool 0 have a label already and 1 repeats another one, exactly or nearly\n"
    )
    assert out.endswith(
        "Next: fill in column label (rows that stay empty are left out), then\n"
        "  coldstart adapt dataset=tabular dataset.root=table.csv 'dataset.labelled=[o 1.csv]' bundle=b\n"
    )
    assert Path("o 1.csv").read_text().splitlines()[:2] == ["a,b,label", "5,0,"]
    code, out, _ = call(capsys, "label-next", "bundle=b", "input=my pool.csv", "n=1", "--json")
    assert json.loads(out)["output"] == "to_label.csv" and json.loads(out)["proposed"] == 1
    code, _, err = call(capsys, "label-next", "bundle=b", "input=nothing.csv")
    assert code == 2 and err.startswith("input: nothing.csv is not there")
    code, _, err = call(capsys, "label-next", "n=3")
    assert code == 2 and err.startswith("input: no pool is named")
