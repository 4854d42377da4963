"""`coldstart compare` and `coldstart diff` as a user types them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from tests.kit.cards import write_card

Make = Callable[..., Path]
GOOD = {1: {f"t{i}": 0.8 + i / 100 for i in range(8)}, 5: {f"t{i}": 0.9 for i in range(8)}}
POOR = {1: {f"t{i}": 0.5 + i / 90 for i in range(8)}, 5: {f"t{i}": 0.9 for i in range(8)}}
HOSTILE = "<script>alert(1)</script>[red]x[/red]\x1b[31m=1+1"


@pytest.fixture
def outputs(tmp_path: Path, make_run: Make) -> Path:
    make_run("protonet-run", GOOD, strategy="protonet", baseline=POOR)
    make_run("maml-run", POOR, baseline=POOR)
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_compare_prints_verdict_table_and_caveats(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "compare", outputs)
    assert (code, err) == (0, "")
    assert "protonet wins by" in out and "toy, 5-way: accuracy, % on 8 new tasks" in out
    assert "protonet" in out and "k = 5" in out and "gain at k = 1" in out
    assert "conditional on it" in out


def test_compare_json_and_csv_hold_the_same_numbers(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text, _ = call(capsys, "compare", outputs, "--json")
    found = json.loads(text)
    _, text, _ = call(capsys, "compare", outputs, "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    (row,) = (r for r in rows if (r["contestant"], r["k"]) == ("protonet", "1"))
    assert float(row["mean"]) == found["settings"][0]["shots"]["1"]["results"]["protonet"]["mean"]
    assert (row["rank"], row["winner"], row["parameters"]) == ("1", "True", "1000")
    assert len(rows) == 6


def test_compare_for_answers_in_lines(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "compare", outputs, "--for", "k=1,p95_ms=10")
    assert code == 0 and out.startswith("for k = 1, p95_ms <= 10: protonet")


def test_a_damaged_run_is_named_and_the_others_are_compared(
    outputs: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    (make_run("bad", GOOD, strategy="reptile") / "run.json").write_text("{")
    code, out, err = call(capsys, "compare", outputs)
    assert code == 0 and "protonet wins" in out
    assert err.startswith(f"left out: {outputs / 'bad'}: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ((), "compare: name run directories"),
        (("absent",), "compare: absent is not a folder"),
        ((".", "--htm", "x"), "--htm: there is no such flag; did you mean --html?"),
        ((".", "--for", "k=x"), "--for: k=x is not a number"),
        ((".", "--zone", "many"), "--zone: many is not between 0 and 100"),
        ((".", "--confidence=100"), "--confidence: 100 is not between 50 and 99.99"),
        ((".", "--html"), "--html: needs a value"),
        ((".",), "compare: . holds no evaluated run"),
        ((".", "--figure", "x.jpg"), "--figure: x.jpg is of no kind that is drawn"),
        ((".", "--latex", "no/x.tex"), "--latex: "),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...], line: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "compare", *argv)
    assert code == 2 and out == "" and err.startswith(line) and err.count("\n") == 1


def test_files_for_papers_are_written_and_said(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: outputs / f"of.{end}" for name, end in
             {"latex": "tex", "markdown": "md", "figure": "svg", "tasks": "csv"}.items()}  # fmt: skip
    words = [word for name, file in files.items() for word in (f"--{name}", file)]
    code, out, err = call(capsys, "compare", outputs, *words)
    assert code == 0 and "protonet wins by" in out
    assert err == "".join(f"{name}: {file}\n" for name, file in files.items())
    assert r"\toprule" in files["latex"].read_text() and "| protonet |" in files["markdown"].read_text()
    assert "<svg" in files["figure"].read_text() and files["tasks"].read_text().startswith(
        "dataset,n_way,metric,k,"
    )


def test_different_objectives_are_refused_saying_what_can_be_compared(
    outputs: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("sine", GOOD, headline="mse")
    code, _, err = call(capsys, "compare", outputs)
    assert code == 2 and "2 by accuracy such as" in err and "1 by mse such as" in err and err.count("\n") == 1


def test_hostile_names_are_shown_as_text(
    tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("a", GOOD, strategy=HOSTILE)
    make_run("b", POOR, strategy="=SUM(A1)")
    _, out, _ = call(capsys, "compare", tmp_path)
    assert "\x1b" not in out and "[red]x[/red]" in out
    _, text, _ = call(capsys, "compare", tmp_path, "--csv")
    names = {row["contestant"] for row in csv.DictReader(io.StringIO(text))}
    assert "'=SUM(A1)" in names and not any(name.startswith("=") for name in names) and "\x1b" not in text


def test_comparing_needs_neither_torch_nor_hydra(outputs: Path) -> None:
    code = (
        "import sys; from coldstart_cli.cli import main; "
        f"main(['compare', {str(outputs)!r}]); sys.exit(bool({{'torch', 'hydra'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_bundles_are_compared_on_their_held_out_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_card(tmp_path / "all" / "one", [1.0] * 18 + [0.0] * 2)
    write_card(tmp_path / "all" / "two", [1.0] * 6 + [0.0] * 14)
    page = tmp_path / "bundles.html"
    code, out, err = call(capsys, "compare", tmp_path / "all", "--html", page)
    assert code == 0 and "one is better than two by 60 points" in out and err == f"report: {page}\n"
    assert "one is better than two by 60 points" in page.read_text()
    code, out, _ = call(capsys, "compare", tmp_path / "all", "--json")
    assert json.loads(out)["pairs"][0]["a"] == "one"
    code, _, err = call(capsys, "compare", one)
    assert code == 2 and "is one bundle; name others" in err and err.count("\n") == 1
    for flags in (["--csv"], ["--for", "k=5"], ["--zone", "1"], ["--confidence", "90"], ["--latex", "x.tex"]):
        code, _, err = call(capsys, "compare", tmp_path / "all", *flags)
        assert code == 2 and err.startswith(f"{flags[0]}: it is of runs and these are bundles")


def test_bundles_and_runs_are_not_compared_together(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_card(tmp_path / "bundles" / "one", [1.0, 0.0])
    code, _, err = call(capsys, "compare", bundle, outputs / "maml-run")
    assert code == 2 and "maml-run is no bundle and" in err
