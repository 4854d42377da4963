"""In-context learning through the commands: k = 0, refusals, ablations, a bundle with demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli import main
from coldstart_cli.core.tasks import Support
from coldstart_cli.errors import RequestError
from coldstart_cli.strategies.transfer.in_context import InContext
from coldstart_cli.testing.tiny_language_model import tiny_texts
from coldstart_cli.testing.trial import Trial

Make = Callable[..., Any]


@pytest.fixture
def trial(torch_settings: None) -> Trial:
    pytest.importorskip("transformers", reason="needs the extra hf")
    return Trial("in_context")


def test_names_alone_answer_at_k_0_and_demonstrations_change_the_answer(trial: Trial) -> None:
    made = trial.experiment(evaluation={"k_shots": [0, 1]})
    task, other = made.source.tasks("new", [0])[0], made.source.tasks("new", [1])[0].support
    found = {name: next(iter(a)) for name, a in made.strategy.ablations(task.support, other).items()}
    assert set(found) == {"names of another class", "names off", "demonstrations off"}
    with torch.no_grad():
        whole = next(made.strategy.adapt(task.support)).module(task.query.inputs)
        off = found["demonstrations off"].module(task.query.inputs)
        others = found["names of another class"].module(task.query.inputs)
    assert off.shape == whole.shape
    assert not torch.allclose(off, whole)
    assert not torch.allclose(others, whole)


def test_batch_calibration_is_marked_as_transductive(trial: Trial) -> None:
    assert not trial.experiment().strategy.transductive
    assert trial.experiment(strategy={"calibration": "batch"}).strategy.transductive


def test_calibration_by_unlabelled_examples_is_inductive_and_needs_some(trial: Trial) -> None:
    by_unlabelled = {"calibration": "unlabelled"}
    strategy = trial.experiment(strategy=by_unlabelled).strategy
    assert strategy.needs_unlabelled and not strategy.transductive
    with pytest.raises(
        RequestError, match=r"^strategy: it learns from unlabelled examples .* there are none;"
    ):
        trial.experiment(strategy=by_unlabelled, dataset={"n_unlabelled": 0})


def test_state_is_a_digest_and_nothing_learns(trial: Trial) -> None:
    strategy = trial.experiment().strategy
    assert isinstance(strategy, InContext)
    assert set(strategy.state_dict()) == {"lm.digest"}
    assert not strategy.learns_from_source


def test_texts_without_names_and_models_without_words_are_refused(
    text_experiment: Make, tiny_lm: Path, tiny_bert: Path
) -> None:
    with pytest.raises(
        RequestError, match=r"^strategy: it answers in words and the classes have no names; give"
    ):
        text_experiment("strategy=in_context", "model=causal_lm", f"model.path={tiny_lm}")
    with pytest.raises(
        RequestError, match=r"model: it has no language head, and answers are words here; choose"
    ):
        text_experiment("strategy=in_context", "model=hf_text", f"model.path={tiny_bert}")


def test_too_many_demonstrations_are_refused_before_anything_is_computed(trial: Trial) -> None:
    with pytest.raises(
        RequestError, match=r"^strategy: its 27 demonstrations take .*; give at most \d a class"
    ):
        trial.experiment(
            evaluation={"k_shots": [9], "n_query": 1, "n_unlabelled": 0},
            model={
                **trial._config["model"],
                "preprocess": {**trial._config["model"]["preprocess"], "max_length": 350},
            },
        )


def test_every_task_of_an_evaluation_is_asked_about_before_training(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of new tasks, and of those of the source beside them: the last one's prompt does not fit."""
    asked: list[int] = []

    def lack(self: InContext, support: Support) -> str | None:
        asked.append(support.seed)
        return "it is too long; shorten it" if len(asked) == len_of_all else None

    monkeypatch.setattr(InContext, "refusal_of", lack)
    evaluation = {"k_shots": [1], "n_query": 1, "n_unlabelled": 0, "n_tasks": 5, "n_selection_tasks": 2}
    len_of_all = 100
    trial.experiment(evaluation=evaluation)
    assert len(asked) == 5 + 5 + 2
    for place, said in ((5, "task 5 of 5 (new, k=1)"), (12, "task 2 of 2 (validation, k=1)")):
        asked.clear()
        len_of_all = place
        with pytest.raises(RequestError) as caught:
            trial.experiment(evaluation=evaluation)
        assert str(caught.value) == f"strategy: {said}: it is too long; shorten it"


@pytest.mark.parametrize("calibration", ["contextual", "unlabelled"])
def test_bundle_answers_as_before_and_says_that_it_holds_examples(
    calibration: str,
    tiny_lm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    torch_settings: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    kept: list[torch.nn.Module] = []
    write = Bundle.save

    def keeping(self: Bundle, *arguments: Any, **more: Any) -> None:
        kept.append(self.module)
        write(self, *arguments, **more)

    monkeypatch.setattr(Bundle, "save", keeping)
    lines = tiny_texts(Path("all.csv")).read_text().splitlines()
    few = [lines[0], *(lines[1 + 12 * label + i] for label in range(3) for i in range(3))]
    Path("few.csv").write_text("\n".join(few) + "\n")
    words = ["strategy=in_context", "model=causal_lm", f"model.path={tiny_lm}", "dataset=text"]
    words += ["dataset.root=few.csv", "hardware=cpu", "hardware.threads=1", "bundle=bundle"]
    words += [f"strategy.calibration={calibration}"]
    if calibration == "unlabelled":
        Path("free.csv").write_text("text\nw1 w2 w3\nw4\nw5 w6\n")
        words += ["dataset.unlabelled=free.csv"]
    assert main(["adapt", *words]) == 0
    told = capsys.readouterr().out + Path("bundle/card.json").read_text()
    assert told.count("holds 9 labelled examples themselves") == 2
    bundle = Bundle.load("bundle")
    inputs = bundle.preprocess.texts(["w0 w1 w50", "w3 w4"])
    with torch.no_grad():
        torch.testing.assert_close(bundle.module(inputs), kept[0](inputs))
    assert set(bundle.predict(["w0 w1 w50"]).labels) <= {"w0 w1", "w3 w4", "w6 w7"}
