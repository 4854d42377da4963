"""Run directories read back: found at any depth, whole or left out by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.comparison.results import read
from coldstart_cli.errors import RequestError

Make = Callable[..., Path]
VALUES = {1: {"a": 0.5, "b": 0.75}}


def test_a_result_holds_records_of_new_and_source_tasks_but_not_of_validation(make_run: Make) -> None:
    path = make_run("one", VALUES)
    records = path / "evaluations" / "0123abcd" / "records.jsonl"
    row = {**json.loads(records.read_text().splitlines()[0]), "split": "validation"}
    records.write_text(records.read_text() + json.dumps(row) + "\n")
    ((result,), left_out) = read([path])
    assert {r.split for r in result.records} == {"new", "source_test"} and not left_out
    assert result.seed == 0 and result.summary.names.strategy == "maml"


@pytest.mark.parametrize("value", ['"0.5"', "[1]", "1e999"])
def test_a_value_that_is_no_number_is_of_an_unknown_format(make_run: Make, value: str) -> None:
    records = make_run("one", VALUES) / "evaluations" / "0123abcd" / "records.jsonl"
    records.write_text(records.read_text().replace('"value": 0.5', f'"value": {value}'))
    with pytest.raises(RequestError, match="unknown format"):
        read([records.parents[2]])


def test_a_result_holds_no_bins_of_confidence(make_run: Make) -> None:
    records = make_run("one", VALUES) / "evaluations" / "0123abcd" / "records.jsonl"
    bins = '"brier": 0.1, "coverage": 0.9, "set_size": 1.0, "confidence_bins": [[0, 1, 0.5, 1]], "value"'
    records.write_text(records.read_text().replace('"value"', bins))
    ((result,), _) = read([records.parents[2]])
    assert result.records and all(row.believed is None for row in result.records)


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("run.json", "{", "damaged"),
        ("run.json", '{"format": 99, "state": "finished"}', "format 99"),
        ("config.yaml", "a: ${oc.env:HOME}", "interpolation"),
        ("environment.json", "", "damaged"),
        ("evaluations/0123abcd/summary.json", "{}", "unknown format"),
        ("evaluations/0123abcd/records.jsonl", "{}\n", "unknown format"),
        ("evaluations/0123abcd/records.jsonl", '{"role": \n', "damaged"),
        ("evaluations/0123abcd/records.jsonl", "", "no records"),
        ("evaluations/0123abcd/records.jsonl", None, "missing"),
    ],
)
def test_a_damaged_run_is_left_out_by_name_and_the_others_are_read(
    make_run: Make, tmp_path: Path, file: str, text: str | None, what: str
) -> None:
    make_run("whole", VALUES)
    damaged = make_run("damaged", VALUES, seed=1)
    (damaged / file).unlink()
    if text is not None:
        (damaged / file).write_text(text)
    results, left_out = read([tmp_path])
    assert [r.path.name for r in results] == ["whole"]
    assert [Path(run.path).name for run in left_out] == ["damaged"] and what in left_out[0].reason
    assert "\n" not in left_out[0].reason


def test_nothing_to_read_is_refused_in_one_line(tmp_path: Path, make_run: Make) -> None:
    with pytest.raises(RequestError, match=r"^compare: .*empty holds no evaluated run; name"):
        (tmp_path / "empty").mkdir()
        read([tmp_path / "empty"])
    with pytest.raises(RequestError, match="is not a folder; name run directories"):
        read([tmp_path / "absent"])
    unfinished = make_run("begun", VALUES)
    for place in (unfinished / "evaluations").iterdir():
        place.rename(unfinished / f".{place.name}")
    with pytest.raises(RequestError, match="has no evaluation"):
        read([unfinished])
