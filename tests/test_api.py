"""The functions of `coldstart_cli`: what the commands do, from Python."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import coldstart_cli
from coldstart_cli import (
    Bundle,
    JobError,
    RequestError,
    RunResult,
    adapt,
    compare,
    evaluate,
    load_run,
    train,
)
from coldstart_cli.cli import main
from coldstart_cli.runs.run import Run
from tests.kit.cards import write_card
from tests.kit.places import REPOSITORY

TABLE = REPOSITORY / "tests" / "data" / "flat_layout" / "table.csv"
SMALL = ("experiment=smoke", "dataset=sinusoid", "model=mlp", "model.hidden=[8]", "hardware=cpu",
         "hardware.threads=1", "training.steps=4", "evaluation.timed_seconds=0.01")  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by relative path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run, and the baselines that it measured."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLDSTART_CACHE", str(folder / "cache"))
        train("strategy=maml", *SMALL)
    return folder


@pytest.fixture
def result(made: Path, tmp_path: Path) -> RunResult:
    """A copy of the run, here."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (path,) = (path for path in Path("outputs").iterdir() if (path / "run.json").exists())
    return load_run(path)


def test_a_run_is_that_of_the_command_and_is_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    result = train("strategy=maml", *SMALL)
    assert capsys.readouterr() == ("", "") and not result.found
    assert train("strategy=maml", *SMALL) == RunResult(result.path, result.evaluation, found=True)
    assert main(["train", "strategy=maml", *SMALL, "--quiet"]) == 0
    assert capsys.readouterr().out == f"{result.path}\n"
    assert train("strategy=maml", *SMALL, quiet=False).found
    out, err = capsys.readouterr()
    assert f"Run directory: {result.path}" in out and "is finished" in err
    typed = json.loads((result.path / "environment.json").read_text())["command_line"]
    assert typed == ["coldstart", "train", "strategy=maml", *SMALL]


def test_what_a_run_holds_is_read_from_its_files(result: RunResult) -> None:
    assert result.config["names"]["strategy"] == "maml" and result.summary.headline == "mse"
    assert {row.role for row in result.records} == {"strategy", "baseline", "constant"}
    assert result.history[-1]["step"] == 4
    weights = Run(result.path).checkpoints.best()["strategy"]
    assert all(torch.equal(weights[n], t) for n, t in result.strategy().state_dict().items())


def test_an_evaluation_of_other_shots_lies_beside_the_first(result: RunResult) -> None:
    again = evaluate(result, "evaluation.k_shots=[2]")
    assert list(again.summary.shots) == [2] and not again.found and again.path == result.path
    assert evaluate(result.path, "evaluation.k_shots=[2]").found
    assert again.evaluations == [again.evaluation, result.evaluation]
    assert load_run(result.path) == RunResult(result.path, again.evaluation, found=True)
    assert load_run(str(result.path), result.evaluation).summary == result.summary


def test_runs_are_compared_as_by_the_command(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("maml", 0.5), ("protonet", 0.7)):
        make_run(name, {1: {f"t{i}": value + i / 50 for i in range(9)}}, strategy=name, folder=tmp_path / "o")
    found = compare("o", confidence=0.9, zone=0.01)
    assert main(["compare", "o", "--json", "--confidence", "90", "--zone", "1"]) == 0
    assert found == json.loads(capsys.readouterr().out) and found["confidence"] == 0.9
    assert compare(tmp_path / "o" / "maml", load_run(Path("o/protonet")))["settings"]


def test_a_trained_run_is_adapted_to_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("strategy=nearest_centroid", "dataset=tabular",
             f"dataset.root={TABLE}", "hardware=cpu", "hardware.threads=1")  # fmt: skip
    bundle = adapt(*words, "threshold=0.25", bundle="a, folder (1)")
    assert bundle.path == Path("a, folder (1)") and bundle.card.threshold == 0.25
    assert bundle.card == Bundle.load("a, folder (1)").card and capsys.readouterr() == ("", "")
    assert main(["adapt", *words, "threshold=0.25", "bundle=b"]) == 0
    assert capsys.readouterr().out.startswith("b: nearest_centroid (features), 2 classes, 40 examples")
    command = json.loads(Path("b/card.json").read_text())
    own = json.loads(Path("a, folder (1)/card.json").read_text())
    for card in (own, command):
        del card["made"], card["seconds"], card["digest"]  # of all that the card holds
    assert own == command


def process_state() -> list[Any]:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    of_torch = [torch.get_num_threads(), torch.get_deterministic_debug_mode(), torch.get_rng_state().tolist()]
    numbers = [random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index]
    here = [warnings.showwarning, list(sys.argv), dict(os.environ), OmegaConf.has_resolver("oc.env")]
    return [*handlers, *of_torch, *numbers, *here]


def test_a_call_leaves_the_process_as_it_found_it() -> None:
    train("strategy=maml", *SMALL)  # from now on the caller's configs read the environment again
    before = process_state()
    assert OmegaConf.create({"home": "${oc.env:HOME}"}).home == os.environ["HOME"]
    result = train("strategy=maml", *SMALL, "seed=1")
    evaluate(result, "evaluation.k_shots=[2]")
    with pytest.raises(RequestError):
        evaluate(result, "evaluation.k_shots=[0.5]")
    adapt("strategy=nearest_centroid", "dataset=tabular", f"dataset.root={TABLE}", bundle="b")
    assert process_state() == before


def test_a_run_reads_no_environment_though_its_caller_may() -> None:
    train("strategy=maml", *SMALL)
    with pytest.raises(RequestError, match=r"oc\.env"):
        train("strategy=maml", *SMALL, "outputs=${oc.env:HOME}")
    assert OmegaConf.has_resolver("oc.env")


def test_training_in_a_thread_as_of_a_notebook() -> None:
    found: list[RunResult] = []
    thread = threading.Thread(target=lambda: found.append(train("strategy=maml", *SMALL)))
    thread.start()
    thread.join()
    assert found[0].summary == load_run(found[0].path).summary


def test_an_interrupt_ends_it_after_a_checkpoint_and_the_same_call_goes_on() -> None:
    small = (word for word in SMALL if not word.startswith(("training.steps", "training.log_every")))
    words = ("strategy=maml", *small, "training.steps=200000", "training.log_every=50")

    def interrupt() -> None:
        while not list(Path("outputs").glob("*/history.jsonl")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(*words)
    assert signal.getsignal(signal.SIGINT) == before
    (path,) = Path("outputs").iterdir()
    with pytest.raises(RequestError, match="is not finished; repeat its"):
        load_run(path)
    steps = [int(re.findall(r"\d+", p.name)[0]) for p in (path / "checkpoints").glob("*[0-9]*")]
    assert steps and 0 <= max(steps) < 200000


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: train("strategy=mamml"), "strategy: there is no 'mamml'; did you mean maml?"),
    (lambda: train("strategy=maml", "strategy.inner_lrr=1"), "strategy.inner_lrr: there is no such key; did"),
    (lambda: train({"strategy": "maml"}), "train: {'strategy': 'maml'} is not an override; write texts"),  # type: ignore[arg-type]
    (lambda: train("--quiet"), "train: '--quiet' is not an override"),
    (lambda: train(config_dirs="mine"), "config_dirs: 'mine' is not a list; give ['mine']"),
    (lambda: train(config_dirs=["mine"]), "--config-dir: mine is not a folder"),
    (lambda: evaluate("nothing"), "run: nothing is not a run directory"),
    (lambda: load_run("nothing"), "run: nothing is not a run directory"),
    (lambda: compare(), "compare: no run is named"),
    (lambda: compare("nothing"), "compare: nothing is not a folder"),
    (lambda: compare("outputs", confidence=95), "confidence: 95 is out of range; give a value from 0.5"),
    (
        lambda: adapt("strategy=logistic", "dataset=tabular", "dataset.root=no.csv", "model=mlp", bundle="b"),
        "dataset.root: no.csv",
    ),
    (lambda: adapt("bundle=b", bundle="b"), "adapt: run and bundle are arguments here"),
    (lambda: adapt("dataset=tabular", bundle="b", run="nothing"), "run: nothing is not a run directory"),
    (lambda: Bundle.load("nothing"), "bundle: nothing is not a bundle"),
]


@pytest.mark.parametrize(("call", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_what_is_refused_is_told_in_the_line_of_the_command(call: Callable[[], object], line: str) -> None:
    with pytest.raises(RequestError) as caught:
        call()
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_finished_run_refuses_what_is_not_its(result: RunResult) -> None:
    with pytest.raises(RequestError, match=r"strategy.inner_lr: belongs to the training of this run"):
        evaluate(result, "strategy.inner_lr=1")
    with pytest.raises(RequestError, match=r"evaluation: .* has no 'x'; choose one of [0-9a-f]{8}"):
        load_run(result.path, "x")
    with pytest.raises(JobError, match=r"evaluation.budget.parameters: .* is above 1"):
        evaluate(result, "evaluation.budget.parameters=1", "evaluation.budget.enforce=true")


def test_the_page_about_python_runs_as_it_stands(
    tmp_path: Path, torch_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) >= 3
    (tmp_path / "table.csv").write_bytes(TABLE.read_bytes())
    exec(compile("\n".join(blocks), "docs/python.md", "exec"), {"__name__": "__main__"})
    assert "strategy: there is no 'mamml'; did you mean maml?" in capsys.readouterr().out


def test_every_public_function_is_documented_with_an_example() -> None:
    for name in coldstart_cli.__all__:
        thing = getattr(coldstart_cli, name)
        if callable(thing) and not issubclass(thing if isinstance(thing, type) else object, Exception):
            assert thing.__doc__, name
            assert name == "Prediction" or "Example:" in thing.__doc__, name


def test_a_type_checker_sees_the_public_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user.py").write_text(
        "from coldstart_cli import Bundle, RunResult, adapt, compare, evaluate, load_run, train\n"
        "result: RunResult = train('strategy=maml')\n"
        "labels: list[str | None] = Bundle.load('b').predict([[1]]).labels\n"
        "reveal_type(adapt('a=b', bundle='b').card.threshold)\n"
        "reveal_type(evaluate(result).path)\n"
        "train(7)\n"
    )
    # Nothing that a user's call has is of these, and to read them takes a quarter of a minute
    below = ("datasets", "evaluation", "loggers", "models", "reports", "strategies", "tracing", "training")
    skipped = ["torch", "numpy", "scipy", "rich", "hydra", *(f"coldstart_cli.{name}" for name in below)]
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nfollow_imports = silent\n"
        f"[mypy-{','.join(f'{name}.*' for name in skipped)}]\nfollow_imports = skip\n"
    )
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(Path(coldstart_cli.__file__).parents[1]))
    out, _, code = api.run([f"--cache-dir={tmp_path}", "user.py"])
    assert code == 1 and '"float"' in out and "pathlib." in out, out
    assert re.findall(r"user.py:(\d+): error", out) == ["6"], out


def test_a_caller_with_a_hydra_of_its_own_finds_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.yaml").write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        train("strategy=maml", *SMALL)
        assert hydra.compose("theirs").a == 1


def test_compare_takes_bundles_too(tmp_path: Path) -> None:
    write_card(tmp_path / "one", [1.0] * 18 + [0.0] * 2)
    write_card(tmp_path / "two", [1.0] * 6 + [0.0] * 14)
    found = compare(tmp_path)
    assert [one["name"] for one in found["bundles"]] == ["one", "two"]
    assert found["pairs"][0]["difference"] == 0.6
    with pytest.raises(RequestError, match="confidence and zone are of runs"):
        compare(tmp_path, zone=0.1)
