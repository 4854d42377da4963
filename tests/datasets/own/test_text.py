from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own import layouts
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.text import text
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain, Preprocess

Read = Callable[..., Labelled]
ROWS = [(f"word{c} number {i}", f"c{c}") for c in range(9) for i in range(5)]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


def counts(inputs: Inputs | None) -> torch.Tensor:
    assert inputs is not None and not isinstance(inputs, torch.Tensor)
    return inputs["counts"]


@pytest.fixture
def values(settings: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return {**settings("text"), "n_way": 2, "n_query": 1}


@pytest.fixture
def read(values: dict[str, Any], bag: Preprocess, tmp_path: Path) -> Read:
    def call(content: str | bytes, name: str = "data.csv", **changes: Any) -> Labelled:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return text(bag, **{**values, "root": str(path), **changes}).labelled

    return call


def test_every_format_is_the_same_data(read: Read, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an extra")
    import pyarrow

    csv = read(CSV)
    tsv = read(CSV.replace(",", "\t"), "data.tsv")
    marked = read(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode(), "bom.csv")
    jsonl = read("".join(json.dumps({"label": c, "text": t}) + "\n\n" for t, c in ROWS), "data.jsonl")
    columns = {"text": [t for t, _ in ROWS], "label": [c for _, c in ROWS]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
    written = read((tmp_path / "table.parquet").read_bytes(), "data.parquet")
    wide = read(CSV.encode("utf-16"), "wide.csv", encoding="utf-16")
    assert len({one.fingerprint for one in (csv, tsv, marked, jsonl, written, wide)}) == 1
    assert csv.classes == tuple(f"c{c}" for c in range(9)) and csv.places[0] == "data.csv row 2"


def test_quoted_lines_are_one_row(read: Read) -> None:
    labelled = read('text,label\n"two\nlines, and ""quotes""",a\nnext,b\n')
    assert labelled.places == ["data.csv row 2", "data.csv row 3"] and len(labelled) == 2


def test_task_column_makes_classes_of_each_task(read: Read) -> None:
    rows = "".join(f"w{i},yes,a/b\nw{i},b/yes,a\nw{i},no,a/b\n" for i in range(3))
    labelled = read("t,l,k\n" + rows, text_column="t", label_column="l", task_column="k")
    assert labelled.tasks == ("a", "a/b") and labelled.classes == ("a/b/yes", "a/b/no", "a/b/yes")
    assert labelled.task_of.tolist() == [1, 0, 1] * 3


def test_folder_of_files_is_read_in_order(read: Read, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    read(CSV, "all/b.csv")
    (tmp_path / "all" / "a.tsv").write_text("label\ttext\nz\tfirst\n")
    labelled = read(CSV, root=str(tmp_path / "all"))
    assert labelled.places[:2] == ["a.tsv row 2", "b.csv row 2"] and len(labelled) == 46


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "data.csv", r"data.csv: is empty \(0 bytes\)"),
        ("text,label\n", "data.csv", "holds no row with text and label"),
        ("text,klass\nhi,a\n", "data.csv", r"data.csv: has no column 'label' \(dataset.label_column\)"),
        ("txt,label\nhi,a\n", "data.csv", r"has no column 'text' .*did you mean txt"),
        ("text,text,label\na,b,c\n", "data.csv", "column 'text' is there twice"),
        ("text,label\nhi,a\nonly one\n", "data.csv", "data.csv row 3: 1 fields under 2 columns; repair it"),
        ("text,label\nhi,\n", "data.csv", "data.csv row 2: column label is empty; fill it"),
        ("text,label\n  ,a\n", "data.csv", "data.csv row 2: column text is empty"),
        ('text,label\n"hi,a\n', "data.csv", "data.csv row 2: it is no CSV"),
        (
            b"text,label\nhi,a\ncaf\xe9,b\n",
            "data.csv",
            r"row 3: column text is not utf-8 \(byte 0xE9 at char",
        ),
        (CSV.encode("utf-16"), "data.csv", r"data.csv: is UTF-16; say so with dataset.encoding=utf-16"),
        ('{"text": "a", "label": "b"}\n{"text": \n', "d.jsonl", "d.jsonl row 2: it is no JSON"),
        ("[1, 2]\n", "d.jsonl", "d.jsonl row 1: it is no JSON object"),
        ("[" * 100_000 + "\n", "d.jsonl", "d.jsonl row 1: it is no JSON"),
        ('{"text": 3, "label": "b"}\n', "d.jsonl", "row 1: column text is not a text but 3"),
        ('{"text": null, "label": "b"}\n', "d.jsonl", "row 1: column text is empty"),
        ('{"text": "\\ud800", "label": "b"}\n', "d.jsonl", "holds half a character"),
        (b"PAR1 and no more", "d.parquet", "is no Parquet file"),
        ("hello", "d.docx", "is no CSV, TSV, JSONL, JSON, Parquet or XLSX file by its name"),
    ],
)
def test_bad_input_is_one_line_with_file_and_row(
    read: Read, content: str | bytes, name: str, message: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="Parquet is an extra")
    with pytest.raises(RequestError, match=message) as caught:
        read(content, name)
    assert "\n" not in str(caught.value)


def test_empty_folder_and_unknown_encoding_are_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(RequestError, match="nothing holds no CSV, TSV, JSONL, JSON, Parquet or XLSX file"):
        read(CSV, root=str(tmp_path / "nothing"))
    with pytest.raises(RequestError, match=r"dataset.encoding: utf-9 is not an encoding"):
        read(CSV, encoding="utf-9")
    assert len(read("text,label\ncafé,a\nthé,b\n".encode("latin-1"), encoding="latin-1")) == 2


def test_bad_rows_are_skipped_counted_and_named(read: Read) -> None:
    content = b"text,label\n" + b"".join(b"caf\xe9 %d,a\n" % i for i in range(7)) + b"tea,b\n,b\n"
    with pytest.warns(RuntimeWarning, match="8 could not be read and left out: data.csv row 2: .*and 3 more"):
        labelled = read(content, on_bad="skip")
    assert labelled.places == ["data.csv row 9"] and len(labelled.skipped) == 8


def test_file_that_cannot_be_written_to_is_read_and_stays(
    read: Read, values: dict[str, Any], bag: Preprocess, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    read(CSV, "all/data.csv")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    (folder / "data.csv").chmod(0o400)
    folder.chmod(0o500)
    try:
        source = text(bag, **{**values, "root": str(folder)})
        source.tasks("train", range(3))
    finally:
        folder.chmod(0o700)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


def test_model_without_text_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(CSV)
    with pytest.raises(ValueError, match="model: it does not read text"):
        text(Plain(), **{**values, "root": str(tmp_path / "data.csv")})


def test_raw_texts_come_from_tables_lines_and_standard_input(
    read: Read, bag: Preprocess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = read(CSV, unlabelled=str(tmp_path / "data.csv"))
    assert torch.equal(counts(labelled.unlabelled), counts(labelled.inputs))

    def raw(path: str) -> list[Any]:
        problems = Problems("skip")
        found = list(layouts.read_raw(labelled.recipe, bag, path, problems=problems, chunk=20))
        skipped, problems.skipped = problems.skipped, []
        problems.warn(path)
        return [*found, skipped]

    *chunks, skipped = raw(str(tmp_path / "data.csv"))
    assert [len(chunk) for chunk in chunks] == [20, 20, 5] and not skipped
    assert torch.equal(torch.cat([counts(chunk.inputs) for chunk in chunks]), counts(labelled.inputs))
    (tmp_path / "lines.txt").write_bytes(b"one line\n\nanother, with a comma\ncaf\xe9\n")
    with pytest.warns(RuntimeWarning, match=r"lines.txt: 1 blank lines have no answer"):
        lines, skipped = raw(str(tmp_path / "lines.txt"))
    assert lines.places == ("lines.txt row 1", "lines.txt row 3") and skipped == [
        "lines.txt row 4: it is not utf-8"
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"how do I pay\nstop it\n")))
    (typed, _) = raw("-")
    assert typed.places == ("standard input row 1", "standard input row 2")
    with pytest.raises(RequestError, match="has no column 'text'"):
        (tmp_path / "other.csv").write_text("words\nhi\n")
        raw(str(tmp_path / "other.csv"))


def test_recipe_reads_other_columns_where_it_is_changed(read: Read, bag: Preprocess, tmp_path: Path) -> None:
    recipe = json.loads(json.dumps(dict(read(CSV).recipe)))
    (tmp_path / "new.csv").write_text("text,intent\nhello there,a\nbye,b\n")
    changed = {**recipe, "label_column": "intent"}
    labelled = layouts.read_labelled(changed, bag, str(tmp_path / "new.csv"), unlabelled=None, on_bad="stop")
    assert labelled.classes == ("a", "b")
    with pytest.raises(RequestError, match="recipe: texts is not a layout; did you mean text"):
        layouts.read_labelled({"layout": "texts"}, bag, "x", unlabelled=None, on_bad="stop")


@pytest.mark.parametrize(
    ("typed", "what"),
    [
        ("label,text\nx,hello there\ny,bye\n", "a table with a header"),
        ("text\nhello there\nbye\n", "a table with a header"),
        ('{"text": "hello there"}\n{"text": "bye"}\n', "JSON objects"),
        ('[{"text": "hello there"},\n {"text": "bye"}]\n', "a list of JSON objects"),
    ],
)
@pytest.mark.parametrize("name", ["-", "typed.txt"])
def test_raw_texts_are_read_as_the_table_that_they_are(
    read: Read,
    bag: Preprocess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    what: str,
    name: str,
) -> None:
    recipe = read(CSV).recipe
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
    (tmp_path / "typed.txt").write_text(typed)
    problems, path = Problems("stop"), name if name == "-" else str(tmp_path / name)
    (raw,) = layouts.read_raw(recipe, bag, path, problems=problems, chunk=20)
    assert [row["text"] for row in raw.rows] == ["hello there", "bye"]
    with pytest.warns(RuntimeWarning, match=f"is read as {what}, as its first line shows"):
        problems.warn("input")


def test_texts_of_a_file_of_another_kind_are_refused(read: Read, bag: Preprocess, tmp_path: Path) -> None:
    recipe = read(CSV).recipe
    (tmp_path / "d.docx").write_bytes(b"PK\x03\x04\0\0")
    with pytest.raises(RequestError, match=r"d.docx row 1: it holds a character that no text has"):
        list(layouts.read_raw(recipe, bag, str(tmp_path / "d.docx"), problems=Problems("stop"), chunk=20))
    (tmp_path / "d.ods").write_bytes(b"PK\x03\x04")
    with pytest.raises(RequestError, match=r"d.ods: is a workbook, which is not read"):
        list(layouts.read_raw(recipe, bag, str(tmp_path / "d.ods"), problems=Problems("stop"), chunk=20))


def test_texts_that_are_cut_are_counted(read: Read, bag: Preprocess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bag, "max_length", 2)
    monkeypatch.setattr(bag, "cut", lambda texts: (sum(len(t.split()) > 2 for t in texts), 4), raising=False)
    with pytest.warns(
        RuntimeWarning, match=r"45 of 45 texts are longer than 2 tokens and were cut; .*length=4"
    ):
        labelled = read(CSV)
    assert len(labelled.remarks) == 1


def test_texts_alike_are_of_one_group(read: Read) -> None:
    labelled = read("text,label\nWhere is it?,a\nwhere is it,a\nother,b\n")
    assert labelled.near_equal().tolist() == [0, 0, 1]


def test_recipe_of_before_its_keys_were_known_is_read(read: Read, bag: Preprocess, tmp_path: Path) -> None:
    recipe = dict(read(CSV).recipe)
    for key in ("delimiter", "quoted", "header"):
        del recipe[key]
    again = layouts.read_labelled(recipe, bag, str(tmp_path / "data.csv"), unlabelled=None, on_bad="stop")
    assert len(again) == 45
