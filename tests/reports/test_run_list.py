"""The table of runs and one run in full, as text and as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from coldstart_cli.reports import run_list
from coldstart_cli.runs.listing import listed

Make = Callable[..., Path]
VALUES = {1: {"a": 0.5, "b": 0.75}, 5: {"a": 0.9, "b": 0.8}}


def console() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=200, highlight=False, emoji=False), stream


def test_the_table_has_a_row_for_each_run_and_a_total(make_run: Make) -> None:
    good, bad = listed(make_run("one", VALUES)), make_run("[red]x[/red]\x1b", VALUES, seed=1)
    (bad / "run.json").write_text("{")
    screen, stream = console()
    run_list.show([good, listed(bad)], [good, listed(bad)], commands=False, console=screen)
    lines = stream.getvalue().splitlines()
    assert "finished  k=5 accuracy 50.0 ± 10.0" in lines[1] and "broken" in lines[2]
    assert "[red]x[/red]\\x1b" in lines[2] and "\x1b" not in stream.getvalue()
    assert "run.json is damaged" in stream.getvalue()
    assert lines[-1].startswith("2 runs: 1 finished, 1 broken, ")


def test_a_narrow_terminal_has_two_lines_for_a_run_and_cuts_nothing(make_run: Make) -> None:
    run = listed(make_run("one", VALUES))
    stream = io.StringIO()
    narrow = Console(file=stream, width=70, highlight=False, emoji=False)
    run_list.show([run], [run], commands=False, console=narrow)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "run" and lines[2] == str(run.path)
    assert lines[3].split()[:5] == ["finished", "k=5", "accuracy", "50.0", "±"]


def test_where_no_run_passes_it_is_said_what_there_is(make_run: Make) -> None:
    one = listed(make_run("one", VALUES))
    screen, stream = console()
    run_list.show([], [one], commands=False, console=screen)
    run_list.show([], [], commands=False, console=screen)
    assert stream.getvalue() == "none of 1 runs; they have strategy maml; dataset toy; model conv4\nno run\n"


def test_one_run_is_told_with_results_config_and_files(make_run: Make) -> None:
    run = make_run("one", VALUES, settings={"inner_lr": 0.4, "clip": None, "first": True})
    screen, stream = console()
    run_list.show_one(listed(run), screen)
    text = stream.getvalue()
    assert text.startswith(f"{run}: finished (trained and evaluated)\n")
    assert "maml (conv4) on toy: 5-way" in text and "5-shot" in text
    assert "strategy   maml: first=true inner_lr=0.4\n" in text
    assert "  evaluations/0123abcd/\n" in text


def test_json_holds_every_k_and_null_for_what_is_not_finite(make_run: Make) -> None:
    run = make_run("one", VALUES)
    summary = run / "evaluations" / "0123abcd" / "summary.json"
    value = json.loads(summary.read_text())
    value["shots"]["1"]["new"]["after"]["half_width"] = None
    summary.write_text(json.dumps(value))
    told = json.loads(json.dumps(run_list.in_full(listed(run)), allow_nan=False))
    assert told["results"] == {"1": {"mean": 0.5, "half_width": None}, "5": {"mean": 0.5, "half_width": 0.1}}
    assert told["config"]["dataset.n_way"] == 5 and told["summary"]["headline"] == "accuracy"
    assert told["files"]["run.json"] == (run / "run.json").stat().st_size
