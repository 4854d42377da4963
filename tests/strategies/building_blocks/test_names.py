"""Names as one more example: class means, ridge and logistic regression by hand, k = 0, and ablations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.names import ablations_of_names, class_sums, known
from coldstart_cli.strategies.building_blocks.prototypes import prototypes

Make = Callable[..., Experiment]
READERS = ("name_centroid", "nearest_centroid", "protonet", "logistic", "r2d2")


def support(k_shot: int = 2, n_way: int = 3, width: int = 5) -> Support:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(n_way).repeat(k_shot)
    drawn = torch.randn(n_way * k_shot + n_way, width, generator=generator)
    return Support(drawn[n_way:], targets, Classification(n_way), 0, names=drawn[:n_way])


def arrays(task: Support) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    assert isinstance(task.inputs, Tensor) and isinstance(task.names, Tensor)
    return task.inputs.numpy(), task.targets.numpy(), task.names.numpy()


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("k_shot", [0, 1, 2])
def test_a_class_mean_counts_its_name_by_its_weight(weight: float, k_shot: int) -> None:
    task = support(k_shot)
    found = known(nn.Identity(), task, {"name_weight": weight})
    means = prototypes(found.features, found.targets, 3, found.weights)
    x, y, names = arrays(task)
    for c in range(3):
        expected = (x[y == c].sum(0) + weight * names[c]) / (k_shot + weight)
        np.testing.assert_allclose(means[c].numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        class_sums(found, 3).numpy(), (k_shot + weight) * means.numpy(), rtol=1e-5, atol=1e-6
    )
    assert found.n_names == 3 and len(found.features) == 3 * k_shot + 3


def test_weight_zero_and_no_names_leave_the_support_set_as_it_is() -> None:
    task = support()
    for found in (
        known(nn.Identity(), task, {"name_weight": 0.0}),
        known(nn.Identity(), replace(task, names=None), {"name_weight": 1.0}),
    ):
        assert found.features is task.inputs and found.targets is task.targets
        assert found.weights is None and found.n_names == 0


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes of texts whose words are those of their names, and others."""
    rows = [f"w{3 * c} w{3 * c + 1} w{40 + i},w{3 * c} w{3 * c + 1}" for c in range(15) for i in range(12)]
    path = tmp_path_factory.mktemp("texts") / "data.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


@pytest.fixture
def named(experiment: Make, texts: Path, tiny_bert: Path) -> Make:
    """Assembles a strategy over the frozen tiny model and the texts."""

    def made(name: str, *overrides: str) -> Experiment:
        weight = () if name == "name_centroid" or name not in READERS else ("strategy.name_weight=1",)
        return experiment(
            f"strategy={name}", "dataset=text", f"dataset.root={texts}", "model=hf_text_frozen",
            f"model.path={tiny_bert}", "dataset.n_way=3", "dataset.k_shot=1", "dataset.n_query=2",
            "dataset.n_unlabelled=2", *weight, *overrides,
        )  # fmt: skip

    return made


@pytest.mark.parametrize("name", READERS)
def test_no_label_is_needed_where_there_are_names(named: Make, name: str) -> None:
    made = named(name, "evaluation.k_shots=[0]")
    assert made.source.named and made.strategy.reads_names
    without = made.source.with_shape(replace(made.source.shape, k_shot=0))
    (task,) = without.tasks("new", [0])
    (adapted,) = made.strategy.eval().adapt(task.support)
    with torch.no_grad():
        outputs = adapted.module(task.query.inputs)
    assert outputs.shape == (len(task.query), 3) and torch.isfinite(outputs).all()
    assert (outputs.argmax(-1) == task.query.targets).float().mean() > 0.6


@pytest.mark.parametrize("name", ["protonet", "logistic", "finetune"])
def test_k_zero_of_new_classes_is_refused_to_who_reads_no_names(named: Make, name: str) -> None:
    zero = ("strategy.name_weight=0",) if name != "finetune" else ()
    with pytest.raises(RequestError, match=r"^strategy: .*k_shot is 0.*; give labels"):
        named(name, "evaluation.k_shots=[0]", *zero)


def test_names_that_are_missing_or_say_nothing_are_said(
    named: Make, experiment: Make, tmp_path: Path, texts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment("strategy=name_centroid")
    assert "strategy: it reads what classes are called, and these have no names" in caplog.text
    caplog.clear()
    named("name_centroid")
    assert caplog.text == ""
    numbered = tmp_path / "numbered.csv"
    lines = texts.read_text().splitlines()
    numbered.write_text(
        "\n".join([lines[0], *(f"{x.partition(',')[0]},{i // 12}" for i, x in enumerate(lines[1:]))])
    )
    named("name_centroid", f"dataset.root={numbered}")
    assert "15 labels say nothing in words (0, 1, 10, ...); describe them" in caplog.text


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_ridge_regression_weighs_the_error_of_a_name(named: Make, weight: float) -> None:
    made = named(
        "r2d2", f"strategy.name_weight={weight}", "strategy.init_lambda=0.3", "strategy.init_scale=2.0"
    )
    task = made.source.tasks("new", [0])[0]
    (adapted,) = made.strategy.double().eval().adapt(task.support.map(_double))
    x, y, names = arrays(task.support)
    rows = np.concatenate([np.concatenate([x, names]), np.ones((len(x) + 3, 1), x.dtype)], 1).astype(float)
    rows[:, :-1] /= np.linalg.norm(rows[:, :-1], axis=1, keepdims=True)
    of_each = np.concatenate([np.ones(len(x)), np.full(3, weight)])
    targets = np.eye(3)[np.concatenate([y, np.arange(3)])]
    left = rows.T @ (of_each[:, None] * rows) + of_each.sum() * 0.3 * np.eye(rows.shape[1])
    solution = np.linalg.solve(left, rows.T @ (of_each[:, None] * targets))
    np.testing.assert_allclose(
        adapted.changed["head.weight"].detach().numpy(), 2 * solution[:-1].T, atol=1e-5
    )


def test_logistic_regression_with_a_name_twice_is_that_with_weight_two(named: Make) -> None:
    made = named("logistic", "strategy.name_weight=2")
    task = made.source.tasks("new", [0])[0]
    (adapted,) = made.strategy.eval().adapt(task.support)
    assert isinstance(task.support.inputs, Tensor) and isinstance(task.support.names, Tensor)
    twice = replace(
        task.support,
        inputs=torch.cat([task.support.inputs, task.support.names, task.support.names]),
        targets=torch.cat([task.support.targets, torch.arange(3).repeat(2)]),
        names=None,
    )
    (other,) = made.strategy.eval().adapt(twice)
    torch.testing.assert_close(
        adapted.changed["head.weight"], other.changed["head.weight"], rtol=1e-4, atol=1e-4
    )


def test_the_penalty_of_logistic_regression_is_chosen_with_names_in_every_fold(named: Make) -> None:
    made = named("logistic", "strategy.C_search=[0.01,100]", "dataset.k_shot=3")
    task = made.source.tasks("new", [0])[0]
    (adapted,) = made.strategy.eval().adapt(task.support)
    assert adapted.notes["C"] in (0.01, 100)


@pytest.mark.parametrize("name", [*READERS, "soft_kmeans", "align"])
def test_who_reads_names_answers_otherwise_without_them_and_serves_k_zero(named: Make, name: str) -> None:
    made = named(name, *(("strategy.name_weight=1",) if name == "soft_kmeans" else ()))
    assert made.strategy.reads_names
    strategy = made.strategy.train()
    list(islice(strategy.fit(made.source), 4))
    strategy.eval()
    task, other = made.source.tasks("new", [0, 1])
    found = strategy.ablations(task.support, other.support)
    assert "names off" in found
    own = _answers(strategy, task.support, task.query.inputs)
    assert any(not torch.equal(next(adapted).module(task.query.inputs), own) for adapted in found.values())
    without = made.source.with_shape(replace(made.source.shape, k_shot=0))
    assert strategy.refusal(without) is None
    (new,) = without.tasks("new", [0])
    by_names = _answers(strategy, new.support, new.query.inputs)
    assert by_names.shape == (len(new.query), 3) and torch.isfinite(by_names).all()


def test_names_off_and_swapped_by_hand() -> None:
    task = support()
    assert ablations_of_names(lambda s: iter(()), task, {"name_weight": 0.0}) == {}
    assert set(ablations_of_names(lambda s: iter(()), support(0), {"name_weight": 1.0})) == {
        "names of another class"
    }
    seen: list[Support] = []

    def adapt(given: Support):  # type: ignore[no-untyped-def]
        seen.append(given)
        return iter(())

    assert set(ablations_of_names(adapt, task, {"name_weight": 1.0})) == {
        "names of another class",
        "names off",
    }
    assert isinstance(task.names, Tensor) and isinstance(seen[0].names, Tensor)
    assert torch.equal(seen[0].names[1], task.names[0]) and seen[1].names is None


def _answers(strategy: Strategy, given: Support, inputs: object) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = next(strategy.adapt(given)).module(inputs)
    return outputs


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
