"""Rows of tables, whatever they are written in; what is no table is refused by its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coldstart_cli.datasets.readers.delimited import EARLIER, TableFormat
from coldstart_cli.datasets.readers.lines import Lines
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import files_of, kind_of, rows_of
from coldstart_cli.errors import RequestError

ROWS = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def read(path: Path, encoding: str = "utf-8", problems: Problems | None = None) -> list[dict[str, str]]:
    form = TableFormat(**{"encoding": encoding, **EARLIER})
    return [dict(row) for _, row in rows_of(path, form, problems or Problems("stop"))]


def test_json_is_a_list_of_records_or_a_record_a_line(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps(ROWS, indent=2))
    assert read(path) == ROWS
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    problems = Problems("stop")
    assert read(path, problems=problems) == ROWS
    with pytest.warns(RuntimeWarning, match="is read as JSON Lines"):
        problems.warn("d")
    for content, message in (('{"data": []}', "is no list of JSON objects"), ("[1", "is no JSON")):
        path.write_text(content)
        with pytest.raises(RequestError, match=message):
            read(path)


@pytest.mark.parametrize("name", ["d.xlsm", "d.ODS"])
def test_workbooks_are_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(
        RequestError, match=r"is a workbook, which is not read; save its sheet as .xlsx or CSV"
    ):
        files_of(str(tmp_path / name))


def test_files_of_a_folder_that_are_no_tables_are_counted(tmp_path: Path) -> None:
    for name in ("a.csv", "info.json", "notes.txt", "more.txt", ".hidden"):
        (tmp_path / name).write_text("text,label\n")
    problems = Problems("stop")
    assert [path.name for path in files_of(str(tmp_path), problems)] == ["a.csv"]
    with pytest.warns(
        RuntimeWarning, match=r"3 files are no tables and are left out \(1 of .json, 2 of .txt\)"
    ):
        problems.warn("d")
    (tmp_path / "a.csv").unlink()
    assert [path.name for path in files_of(str(tmp_path))] == ["info.json"]


def test_encoding_of_windows_is_proposed_for_its_bytes_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes("text,label\nit\u2019s,x\n".encode("cp1252"))
    with pytest.raises(RequestError, match=r"dataset\.encoding=cp1252"):
        read(path)
    assert read(path, "cp1252")[0]["text"] == "it\u2019s"
    problems = Problems("stop")
    read(path, "latin-1", problems)
    with pytest.warns(RuntimeWarning, match="1 rows hold control characters of latin-1.*encoding=cp1252"):
        problems.warn("d")
    path.write_bytes("text,label\ncaf\u00e9,x\n".encode("latin-1"))
    with pytest.raises(RequestError, match=r"dataset\.encoding=latin-1"):
        read(path)
    problems = Problems("stop")
    read(path, "latin-1", problems)
    problems.warn("d")


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ('{"text": "a"}\n', ".jsonl"),
        ("[\n", ".json"),
        ('[{"text": "a"}]\n', ".json"),
        ("label;text\n", ".csv"),
        ("text\n", ".csv"),
        ("my text is long\n", None),
        ("[urgent] call me\n", None),
        ("{not json\n", None),
        ("", None),
    ],
)
def test_kind_of_typed_lines_is_told_by_the_first(first: str, kind: str | None) -> None:
    assert kind_of(Lines([first]), "text") == kind


def test_no_first_line_is_a_header_where_there_is_none() -> None:
    assert kind_of(Lines(["text\n"]), None) is None
