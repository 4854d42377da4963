"""Workbooks: which sheet, which cells, what is said of the rest, and what is refused before it is parsed."""

from __future__ import annotations

import datetime
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.datasets.readers import spreadsheets
from coldstart_cli.datasets.readers.delimited import TableFormat
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import files_of, rows_of
from coldstart_cli.errors import RequestError

CSV = TableFormat("utf-8", "auto", quoted=None, header=True)
TYPED = TableFormat("utf-8", "auto", quoted=None, header=True, typed=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    pytest.importorskip("openpyxl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(sheets: dict[str, list[list[Any]]], path: str = "book.xlsx") -> Path:
    import openpyxl  # type: ignore[import-untyped,import-not-found,unused-ignore]

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return Path(path)


def read(path: Path, form: TableFormat = CSV) -> tuple[list[Any], list[str]]:
    problems = Problems("stop")
    rows = [(place, dict(row)) for place, row in rows_of(path, form, problems)]
    return rows, [*problems._remarks]


def repacked(path: Path, name: str, old: bytes, new: bytes) -> Path:
    """The same workbook with other bytes in one of its parts."""
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    assert old in parts[name]
    parts[name] = parts[name].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    return path


def test_cells_are_what_csv_would_hold(here: Path) -> None:
    day, hour = datetime.datetime(2026, 3, 1), datetime.datetime(2026, 3, 1, 9, 5)
    rows = [["text", 2024, "c"], ["ä, b", 3.0, day], [None, None, None], [7, 0.5, hour], [True, None, None]]
    found, said = read(save({"s": rows}))
    assert found == [
        ("book.xlsx row 2", {"text": "ä, b", "2024": "3", "c": "2026-03-01"}),
        ("book.xlsx row 4", {"text": "7", "2024": "0.5", "c": "2026-03-01 09:05:00"}),
        ("book.xlsx row 5", {"text": "TRUE", "2024": "", "c": ""}),
    ]
    assert said == ["book.xlsx: 1 rows between others have no value and are passed over"]
    typed, _ = read(Path("book.xlsx"), TYPED)
    assert typed[1][1] == {"text": 7, "2024": 0.5, "c": "2026-03-01 09:05:00"}


def test_the_first_sheet_that_is_shown_is_read_and_others_are_said(here: Path) -> None:
    import openpyxl

    save({"one": [["a"], [1]], "two": [["a"], [2]], "three": [["a"], [3]]})
    book = openpyxl.load_workbook("book.xlsx")
    book["one"].sheet_state = "hidden"
    book.save("book.xlsx")
    rows, said = read(Path("book.xlsx"))
    assert rows[0][1] == {"a": "2"}
    assert said == ["book.xlsx: sheet two is read, of 3 (not one, three); dataset.sheet=NAME reads another"]
    named = TableFormat("utf-8", "auto", quoted=None, header=True, sheet="one")
    assert read(Path("book.xlsx"), named)[0][0][1] == {"a": "1"}
    other = TableFormat("utf-8", "auto", quoted=None, header=True, sheet="tow")
    with pytest.raises(RequestError, match=r"has no sheet 'tow' \(dataset.sheet\); did you mean two"):
        read(Path("book.xlsx"), other)
    rows, said = read(save({"only": [["a"], [1]]}, "d.xlsx"), other)
    assert rows[0][1] == {"a": "1"} and said == ["d.xlsx: has no sheet tow; its only one, only, is read"]


def test_formulas_have_the_results_that_are_kept_and_lacking_ones_are_counted(here: Path) -> None:
    path = save({"s": [["a", "b"], [1, "=A2*2"], [2, "=A3*2"], [3, "#N/A"], [4, "=A5"]]})
    part = "xl/worksheets/sheet1.xml"
    path = repacked(path, part, b"<f>A2*2</f><v />", b"<f>A2*2</f><v>2</v>")
    path = repacked(path, part, b'r="B5"><f>A5</f>', b'r="B5" t="str"><f>A5</f>')  # its result is no text
    rows, said = read(path)
    assert [row["b"] for _, row in rows] == ["2", "", "", ""]
    assert said[0].startswith(
        "book.xlsx: 1 formulas have no result in the file and are read as empty; open it"
    )
    assert said[1] == "book.xlsx: 1 cells hold an error (such as #N/A) and are read as empty"


def test_a_table_without_names_and_rows_that_do_not_fit(here: Path) -> None:
    headless = TableFormat("utf-8", "auto", quoted=None, header=False)
    rows, _ = read(save({"s": [["x", None, "y"], ["z"]]}), headless)
    assert [row for _, row in rows] == [
        {"column_1": "x", "column_2": "", "column_3": "y"},
        {"column_1": "z", "column_2": "", "column_3": ""},
    ]
    with pytest.raises(RequestError, match=r"^book.xlsx row 2: 2 fields under 1 columns"):
        read(save({"s": [["a", None], [1, "a note"]]}))
    with pytest.raises(RequestError, match=r"^book.xlsx: column 'a' is there twice"):
        read(save({"s": [["a", "a"]]}))
    with pytest.raises(RequestError, match=r"^book.xlsx: its sheet holds no row"):
        read(save({"s": []}))


def test_what_unfolds_without_end_or_declares_entities_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, rows = "xl/worksheets/sheet1.xml", [["a"], ["b"]]
    packed = repacked(save({"s": rows}), part, b"<sheetData>", b"<sheetData>" + b" " * (3 << 20))
    with pytest.raises(RequestError, match=r"^book.xlsx: is no workbook .*sheet1.xml is packed 1 to \d{3}\)"):
        read(packed)
    with monkeypatch.context() as bounded:
        bounded.setattr(spreadsheets, "HIGHEST_RATIO", 1 << 20)
        assert len(read(packed)[0]) == 1
        bounded.setattr(spreadsheets, "LARGEST_SHEETS", 1 << 20)
        with pytest.raises(RequestError, match="it unfolds to more than 3,"):
            read(packed)
        bounded.setattr(spreadsheets, "LARGEST_OTHERS", 100)
        with pytest.raises(RequestError, match="it unfolds to more than"):
            read(save({"s": rows}))
    with monkeypatch.context() as bounded:
        bounded.setattr(spreadsheets, "MOST_CELLS", 10_000)
        with pytest.raises(RequestError, match="has more than 1,048,576 rows or 10,000 cells"):
            read(repacked(save({"s": rows}), part, b'r="A2"', b'r="XFD2"'))
        bounded.setattr(spreadsheets, "MOST_ROWS", 1000)
        with pytest.raises(RequestError, match="has more than 1,000 rows"):
            read(repacked(save({"s": rows}), part, b'<row r="2"', b'<row r="999999999999"'))
    entity = b'<!DOCTYPE w [<!ENTITY x "y">]><worksheet'
    with pytest.raises(RequestError, match=r"sheet1.xml declares what no spreadsheet needs"):
        read(repacked(save({"s": rows}), part, b"<worksheet", entity))


def test_other_files_under_its_name_are_refused_in_one_line(here: Path) -> None:
    Path("d.xlsx").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(
        RequestError, match=r"^d.xlsx: is no workbook that can be read \(File is not a zip file\)"
    ):
        read(Path("d.xlsx"))
    with zipfile.ZipFile("d.xlsx", "w") as archive:
        archive.writestr("a.xml", "<a/>")
    with pytest.raises(RequestError, match=r"^d.xlsx: is no workbook that can be read"):
        read(Path("d.xlsx"))
    for old in (b"<sheetData>", b"</row>"):
        with pytest.raises(RequestError, match=r"^book.xlsx: is no workbook that can be read"):
            read(repacked(save({"s": [["a"], [1]]}), "xl/worksheets/sheet1.xml", old, b"<"))


def test_without_its_package_the_refusal_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "d.xlsx").write_bytes(b"PK")
    with pytest.raises(
        RequestError, match=r"is a workbook, which is not read without openpyxl; pip install -e '.\[spread"
    ):
        read(tmp_path / "d.xlsx")


def test_a_workbook_beside_other_tables_is_left_out_with_their_count(here: Path) -> None:
    save({"s": [["a"], [1]]}, "t.xlsx")
    assert [path.name for path in files_of(".")] == ["t.xlsx"]
    Path("t.csv").write_text("a\n1\n")
    problems = Problems("stop")
    assert [path.name for path in files_of(".", problems)] == ["t.csv"]
    assert "1 files are no tables and are left out (1 of .xlsx)" in next(iter(problems._remarks))
