"""`coldstart evaluate`: a finished run again, and which runs and data it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from coldstart_cli.loggers import console
from tests.kit.places import REPOSITORY
from tests.kit.small_runs import QUICK, Cli, only_run, read


def test_cli_evaluate_refuses_data_of_another_kind(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "--quiet")[0] == 0
    run = only_run(tmp_path / "outputs")
    code, _, err = cli("evaluate", f"run=outputs/{run.name}", "dataset=glyphs", "evaluation.n_query=5")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("dataset: the weights of outputs/")


def test_cli_tells_loggers_the_results_by_names_that_do_not_mix_evaluations(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    monkeypatch.setattr(console.Console, "summary", lambda self, step, values: told.append((step, values)))
    code, _, err = cli("train", *QUICK)
    assert code == 0, err
    run = only_run(tmp_path / "outputs")
    (own,) = run.glob("evaluations/*")
    code, _, err = cli("evaluate", f"run=outputs/{run.name}", "evaluation.n_tasks=3")
    assert code == 0, err
    (other,) = set(run.glob("evaluations/*")) - {own}
    (first, mine), (second, theirs) = told
    assert (first, second) == (6, 6)
    assert mine["1-shot/mse"] == read(own / "summary.json")["shots"]["1"]["new"]["after"]["mean"]
    name = f"{other.name}/1-shot/mse"
    assert theirs[name] == read(other / "summary.json")["shots"]["1"]["new"]["after"]["mean"]
    assert all(key.startswith(f"{other.name}/") for key in theirs)


def test_cli_evaluate_refuses_a_run_that_is_not_finished(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "optimizer.lr=1e30", "--quiet")[0] == 1
    run = only_run(tmp_path / "outputs")
    code, _, err = cli("evaluate", f"run=outputs/{run.name}")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("run: ")
    assert "not finished" in err


def test_cli_evaluate_reads_a_run_of_format_1(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "--quiet")[0] == 0
    run = only_run(tmp_path / "outputs")
    state = read(run / "run.json")
    del state["examples"]
    (run / "run.json").write_text(json.dumps({**state, "format": 1}))
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key in ("beyond", "coverage", "timed_seconds", "budget"):
        del config["evaluation"][key]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    code, out, err = cli("evaluate", f"run=outputs/{run.name}", "evaluation.budget.parameters=1")
    assert code == 0, err
    assert "parameters 1,761, limit 1: BROKEN" in out
    assert "; source examples not counted" in out


def test_cli_says_where_the_times_of_a_finished_evaluation_were_measured(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "--quiet")[0] == 0
    name = only_run(tmp_path / "outputs").name
    code, _, err = cli("evaluate", f"run=outputs/{name}", "hardware.threads=2")
    assert code == 0
    assert re.search(r"its times are of other hardware \(cpu: .*, 1 threads, fp32\); .*again=true", err)
    assert "other hardware" not in cli("evaluate", f"run=outputs/{name}")[2]


def test_a_bundle_is_evaluated_in_a_terminal(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tests" / "data" / "flat_layout" / "bundle", "my b")
    Path("t.csv").write_text("a,b,label\n1,2,x\n9,-3,y\n8,-3,x\n1,1,new\n")
    code, out, err = cli("evaluate", "bundle=my b", "input=t.csv", "output=m.csv", "wrong=w, 1.csv")
    assert code == 0, err
    assert out.startswith("my b on t.csv: 3 rows of 2 classes\naccuracy 66.7 %")
    assert "1 row has a label that the bundle does not know (new 1)" in out
    assert Path("m.csv").read_text() == "label,x,y\nx,1,1\ny,0,1\n"
    assert Path("w, 1.csv").read_text().splitlines()[1].startswith("t.csv row 4,x,y,")
    code, out, err = cli("evaluate", "bundle=my b", "input=t.csv", "wrong=w2.csv", "--html", "a b.html")
    page = Path("a b.html").read_text()
    assert code == 0 and err == "report: a b.html\n" and out.startswith("my b on t.csv: 3 rows")
    assert "Accuracy 66.7 %" in page and "input=t.csv --html &#39;a b.html&#39;" in page
    code, out, _ = cli("evaluate", "bundle=my b", "input=t.csv", "--json", "precision=0.9")
    assert json.loads(out)["classes"]["guarantee"] == {"precision": 0.9, "sure": 0.95, "found": None}
    for words, said in (
        (["input=t.csv", "output=m.csv"], "output: m.csv is already there"),
        (["input=t.csv", "wrong=w.txt"], "wrong: w.txt will hold CSV"),
        (["input=-"], "input: labels are read from files"),
        (["input=nothing.csv"], "input: nothing.csv is not there"),
        (["input=t.csv", "precision=95"], "precision: 95 is not between"),
        (["input=t.csv", "--html", "no/where.html"], "--html: "),
        (["input=t.csv", "k_shots=1"], "k_shots=1: evaluate has no such key"),
    ):
        code, _, err = cli("evaluate", "bundle=my b", *words)
        assert code == 2 and err.startswith(said) and err.count("\n") == 1
    assert cli("evaluate", "run=outputs/x", "--json")[2].startswith("--json: is of bundles")
    assert cli("evaluate", "run=outputs/x", "--html", "x.html")[2].startswith("--html: is of bundles")
