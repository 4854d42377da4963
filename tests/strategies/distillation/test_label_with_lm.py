"""The labels against numpy, the student's loss against torch's own, and a teacher that says words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.config import composition
from coldstart_cli.core.tasks import TaskShape, map_inputs
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.strategies.building_blocks.in_context import InContextPredictor, in_order
from coldstart_cli.strategies.distillation.label_with_lm import Cascade, LabelWithLM
from coldstart_cli.testing.tiny_language_model import tiny_language_model, tiny_texts
from coldstart_cli.testing.trial import SMALL

Make = Callable[..., Experiment]


def texts_on(tmp_path: Path, *overrides: str) -> Experiment:
    """A bag of the words of a random language model, which is the teacher, and texts with named labels."""
    pytest.importorskip("transformers", reason="needs the extra hf")
    folder = tiny_language_model(tmp_path)
    bag = ("model=embedding_bag", f"model.path={folder}", "model.embedding_dim=8", "model.hidden=8",
           "model.preprocess.in_prompt=true", "model.preprocess.max_length=16")  # fmt: skip
    data = ("dataset=text", f"dataset.root={tiny_texts(folder / 'texts.csv')}", "dataset.n_way=3",
            "dataset.n_unlabelled=4")  # fmt: skip
    ((_, config),) = composition.points([*SMALL, "strategy=label_with_lm", *bag, *data, *overrides])
    return assemble(config)


def test_the_teacher_is_the_nearest_centroid_with_the_names(experiment: Make, tmp_path: Path) -> None:
    made = experiment("strategy=label_with_lm", "dataset.k_shot=2", "dataset.n_unlabelled=4")
    strategy, task = made.strategy.double().eval(), made.source.tasks("new", [0])[0]
    assert isinstance(strategy, LabelWithLM) and isinstance(task.support.inputs, Tensor)
    # Two images stand for the names, which images have none of.
    support = replace(task.support, names=task.query.inputs[:3])  # type: ignore[index]
    item = next(strategy.adapt(support))
    with torch.no_grad():
        found = item.beside["teacher"]()(task.query.inputs).numpy()
        read = [
            F.normalize(strategy.teacher(x)).numpy()
            for x in (support.inputs, support.names, task.query.inputs)
        ]
    examples, names, queries = read
    targets = support.targets.numpy()
    means = np.stack([(examples[targets == c].sum(0) + names[c]) / 3 for c in range(3)])
    cosines = queries @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_allclose(found, (cosines - 1) / 0.05, atol=1e-6)


@pytest.mark.parametrize("n_labels", [0, 2])
def test_steps_equal_torchs_adam_on_labels_and_soft_labels(experiment: Make, n_labels: int) -> None:
    made = experiment(
        "strategy=label_with_lm", f"dataset.k_shot={max(n_labels, 1)}", "dataset.n_unlabelled=4",
        "strategy.unlabelled_weight=0.7", "strategy.temperature=2",
    )  # fmt: skip
    strategy, task = made.strategy.double().eval(), made.source.tasks("new", [0])[0]
    assert isinstance(strategy, LabelWithLM) and isinstance(task.support.inputs, Tensor)
    support = replace(task.support, names=task.query.inputs[:3])  # type: ignore[index]
    if not n_labels:
        support = replace(support, inputs=task.support.inputs[:0], targets=support.targets[:0])
    items = list(islice(strategy.adapt(support), 4))
    with torch.no_grad():
        said = items[0].beside["teacher"]()(support.unlabelled)
    student = copy.deepcopy(strategy.network.encoder)
    head = torch.nn.Linear(8, 3).double()
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.Adam([*student.parameters(), *head.parameters()], lr=0.003)
    for step, item in enumerate(items):
        with torch.no_grad():
            expected = head(student(task.query.inputs))
            torch.testing.assert_close(item.module(task.query.inputs), expected, msg=str(step))
        log_p = (head(student(support.unlabelled)) / 2).log_softmax(1)
        q = (said / 2).softmax(1)
        loss = 0.7 * 4 * (q * (q.log() - log_p)).sum(1).mean()
        if n_labels:
            loss = loss + F.cross_entropy(head(student(support.inputs)), support.targets)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def test_a_language_model_labels_in_words_and_without_examples(torch_settings: None, tmp_path: Path) -> None:
    made = texts_on(
        tmp_path, "model@strategy.teacher=causal_lm", f"strategy.teacher.path={tmp_path}",
        "strategy.teacher.preprocess.max_length=16", "strategy.answers=in_context",
        "strategy.label_temperature=2",
    )  # fmt: skip
    strategy = made.strategy.eval()
    assert isinstance(strategy, LabelWithLM)
    for k in (1, 0):
        source = made.source.with_shape(TaskShape(3, k, 4, 4))
        assert strategy.refusal(source) is None
        task = source.tasks("new", [0])[0]
        *_, item = islice(strategy.adapt(task.support), 3)
        assert item.notes["distance"] > 0
        shown, names = in_order(task.support, 0), task.support.names
        assert names is not None
        lm = InContextPredictor(strategy.teacher, shown, names, strategy.labelling, None)  # type: ignore[arg-type]
        with torch.no_grad():
            expected = lm.prepare(None)(task.query.inputs) / 2
            torch.testing.assert_close(item.beside["teacher"]()(task.query.inputs), expected)
            assert item.module(task.query.inputs).shape == (12, 3)


def test_names_alone_teach_and_other_names_teach_otherwise(torch_settings: None, tmp_path: Path) -> None:
    made = texts_on(
        tmp_path, "model@strategy.teacher=embedding_bag", f"strategy.teacher.path={tmp_path}",
        "strategy.teacher.preprocess.in_prompt=true", "strategy.teacher.preprocess.max_length=16",
        "strategy.teacher.hidden=16",
    )  # fmt: skip
    strategy, task = made.strategy.eval(), made.source.with_shape(TaskShape(3, 0, 4, 4)).tasks("new", [0])[0]
    assert task.support.names is not None and len(task.support) == 0
    other = replace(task.support, names=map_inputs(lambda t: t.roll(1, 0), task.support.names))
    outputs = []
    for support in (task.support, other):
        *_, item = islice(strategy.adapt(support), 6)
        with torch.no_grad():
            outputs.append(item.module(task.query.inputs))
    assert not torch.allclose(*outputs)


def test_a_teacher_without_words_is_refused(experiment: Make) -> None:
    with pytest.raises(RequestError, match=r"^strategy.teacher: .* no language head, .*; choose model@"):
        experiment("strategy=label_with_lm", "strategy.answers=in_context")


def test_a_cascade_asks_the_teacher_where_the_student_is_not_sure() -> None:
    asked: list[Tensor] = []

    class Teacher(torch.nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            asked.append(inputs)
            return torch.stack([-inputs[:, 0], inputs[:, 0]], 1)

    class Student(torch.nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.log(torch.stack([inputs[:, 0], 1 - inputs[:, 0]], 1))

    inputs = torch.tensor([[0.9], [0.6], [0.2], [0.45]])
    found = Cascade(Student(), Teacher(), 0.75)(inputs)
    torch.testing.assert_close(found[[0, 2]].exp(), torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    torch.testing.assert_close(found[[1, 3]], Teacher()(inputs[[1, 3]]).log_softmax(1))
    assert torch.equal(asked[0], inputs[[1, 3]])
    asked.clear()
    torch.testing.assert_close(Cascade(Student(), Teacher(), 0.0)(inputs), Student()(inputs).log_softmax(1))
    assert asked == []


def test_cascades_are_scored_beside_and_their_cost_is_noted(experiment: Make) -> None:
    overrides = ("strategy=cascade", "strategy.threshold=0.4", "strategy.curve=[0.35,1]")
    made = experiment(*overrides, "dataset.k_shot=2", "dataset.n_unlabelled=4")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    *_, item = islice(strategy.adapt(task.support), 8)
    assert set(item.beside) == {"teacher", "student", "cascade at 0.35", "cascade at 1"}
    with torch.no_grad():
        said = {role: build()(task.query.inputs) for role, build in item.beside.items()}
        pool = item.beside["student"]()(task.support.unlabelled).softmax(1).amax(1)
        own = item.module(task.query.inputs)
    torch.testing.assert_close(said["cascade at 1"], said["teacher"].log_softmax(1))
    sure = said["student"].softmax(1).amax(1, keepdim=True) >= 0.4
    expected = torch.where(sure, said["student"].log_softmax(1), said["teacher"].log_softmax(1))
    torch.testing.assert_close(own, expected)
    for threshold in (0.35, 0.4, 1.0):
        share = np.mean(pool.numpy() < threshold)
        assert item.notes[f"share passed on below {threshold:g}"] == pytest.approx(share)
