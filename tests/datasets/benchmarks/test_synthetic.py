from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from coldstart_cli.core.tasks import Inputs, Split, Task, TaskShape
from coldstart_cli.datasets.benchmarks.synthetic import Sinusoid

Settings = Callable[[str], dict[str, Any]]
SPLITS: list[Split] = ["train", "validation", "source_test", "new"]


@pytest.fixture(scope="module")
def source(settings: Settings) -> Sinusoid:
    return Sinusoid(**settings("sinusoid"))


def tensor(inputs: Inputs | None) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs


def points(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.cat([tensor(task.support.inputs), tensor(task.query.inputs)])[:, 0],
        torch.cat([task.support.targets, task.query.targets])[:, 0],
    )


def fitted(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float, float]:
    """Amplitude, phase and residual of the best a sin(x) - b cos(x)."""
    basis = torch.stack([x.sin(), -x.cos()], dim=1).double()
    weights = torch.linalg.lstsq(basis, y.double()[:, None]).solution[:, 0]
    residual = (basis @ weights - y).abs().max()
    return float(weights.norm()), float(torch.atan2(weights[1], weights[0])), float(residual)


@pytest.mark.parametrize("split", SPLITS)
def test_targets_are_one_sine_wave_in_the_ranges_of_the_paper(source: Sinusoid, split: Split) -> None:
    for task in source.tasks(split, range(50)):
        assert tensor(task.support.inputs).dtype == task.support.targets.dtype == torch.float32
        assert task.support.targets.shape == (10, 1) and task.query.targets.shape == (50, 1)
        x, y = points(task)
        amplitude, phase, residual = fitted(x, y)
        assert residual < 1e-5 and x.abs().max() <= 5
        assert 0.1 - 1e-4 <= amplitude <= 5 + 1e-4 and -1e-3 <= phase <= torch.pi + 1e-3


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.sampled_from(SPLITS), st.lists(st.integers(0, 10**9), min_size=1, max_size=4), st.integers(1, 9))
def test_tasks_are_pure_and_nested(source: Sinusoid, split: Split, indices: list[int], k_shot: int) -> None:
    small = source.with_shape(TaskShape(None, k_shot, 50, 3))
    for task, index in zip(source.tasks(split, indices), indices, strict=True):
        alone = small.tasks(split, [index])[0]
        assert torch.equal(tensor(alone.query.inputs), tensor(task.query.inputs))
        assert torch.equal(alone.query.targets, task.query.targets)
        assert torch.equal(tensor(alone.support.inputs), tensor(task.support.inputs)[:k_shot])
        assert torch.equal(alone.support.targets, task.support.targets[:k_shot])
        assert (alone.support.seed, alone.name) == (task.support.seed, task.name)
        assert alone.support.unlabelled is not None and task.support.unlabelled is None


def test_source_test_has_the_functions_of_train_at_other_points(source: Sinusoid) -> None:
    seen, unseen = source.tasks("train", [7])[0], source.tasks("source_test", [7])[0]
    assert not torch.equal(tensor(seen.support.inputs), tensor(unseen.support.inputs))
    assert fitted(*points(seen))[:2] == pytest.approx(fitted(*points(unseen))[:2], abs=1e-4)
    assert fitted(*points(source.tasks("new", [7])[0]))[0] != pytest.approx(
        fitted(*points(seen))[0], abs=1e-4
    )


def test_pool_holds_the_training_functions(source: Sinusoid) -> None:
    pool = source.pool("train")
    assert len(pool) == 1000 * 20 and pool.objective == source.objective
    drawn = pool.examples(torch.arange(20, 40))
    assert isinstance(drawn.inputs, torch.Tensor) and drawn.inputs.shape == drawn.targets.shape == (20, 1)
    assert fitted(drawn.inputs[:, 0], drawn.targets[:, 0])[:2] == pytest.approx(
        fitted(*points(source.tasks("train", [1])[0]))[:2], abs=1e-4
    )


def test_noise_is_on_supports_and_not_on_queries(settings: Settings, source: Sinusoid) -> None:
    noisy = Sinusoid(**{**settings("sinusoid"), "noise": 0.5, "k_shot": 2000})
    exact = source.with_shape(noisy.shape)
    one, other = noisy.tasks("new", [0])[0], exact.tasks("new", [0])[0]
    assert torch.equal(one.query.targets, other.query.targets)
    noise = one.support.targets - other.support.targets
    assert abs(float(noise.mean())) < 0.06 and float(noise.std()) == pytest.approx(0.5, abs=0.04)
    assert noisy.fingerprint != source.fingerprint


def test_bad_range_and_shape_are_refused(settings: Settings, source: Sinusoid) -> None:
    with pytest.raises(ValueError, match=r"phase: \[3, 1\] is not a range; write \[lowest, highest\]"):
        Sinusoid(**{**settings("sinusoid"), "phase": [3, 1]})
    with pytest.raises(ValueError, match="leave out n_way"):
        source.with_shape(TaskShape(5, 1, 1, 0))


@pytest.fixture(scope="module")
def harder(settings: Settings) -> Sinusoid:
    return Sinusoid(**settings("harder_sinusoids"))


def test_harder_sinusoids_are_one_wave_of_an_unknown_frequency(harder: Sinusoid) -> None:
    frequencies = torch.linspace(0.5, 2, 1501)
    for task in harder.with_shape(TaskShape(None, 50, 50, 0)).tasks("new", range(5)):
        x, y = tensor(task.query.inputs)[:, 0], task.query.targets[:, 0]
        assert min(fitted(w * x, y)[2] for w in frequencies) < 0.02
        assert fitted(x, y)[2] > 0.02


def test_relative_noise_is_a_share_of_the_amplitude(settings: Settings, harder: Sinusoid) -> None:
    shape = TaskShape(None, 2000, 50, 0)
    exact = Sinusoid(**{**settings("harder_sinusoids"), "relative_noise": 0.0}).with_shape(shape)
    indices = range(5)
    pairs = zip(harder.with_shape(shape).tasks("new", indices), exact.tasks("new", indices), strict=True)
    for noisy, clean in pairs:
        assert torch.equal(noisy.query.targets, clean.query.targets)
        noise = noisy.support.targets - clean.support.targets
        amplitude = clean.support.targets.abs().max()
        assert float(noise.std() / amplitude) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("split", "n"), [("train", 2812), ("validation", 938), ("source_test", 2812)])
def test_finite_functions_come_again_at_other_points(harder: Sinusoid, split: Split, n: int) -> None:
    wave, again, other = (harder._waves(split, [index]) for index in (3, 3 + n, 4))
    assert wave == again != other
    first, second = harder.tasks(split, [3, 3 + n])
    assert not torch.equal(tensor(first.support.inputs), tensor(second.support.inputs))
    assert str(n) in harder.facts()[split]


def test_functions_have_names_of_their_own(source: Sinusoid, harder: Sinusoid) -> None:
    assert len({*source.pool("train").names}) == 1000
    names = {split: harder.pool(split).names for split in SPLITS}
    assert [len(names[split]) for split in SPLITS] == [2812, 938, 2812, 1250]
    assert names["source_test"] == names["train"]
    wave = harder._waves("new", [7])
    parameters = [float(p[0, 0]) for p in (wave.amplitude, wave.frequency, wave.phase)]
    assert names["new"][7] == "{!r} sin({!r} x - {!r})".format(*parameters)


def test_endless_functions_are_as_before_there_were_finite_ones(source: Sinusoid) -> None:
    task = source.tasks("new", [5000])[0]
    assert task.support.targets[:2, 0].tolist() == pytest.approx([-1.6578762, 3.3768241])


def test_functions_of_no_split_are_refused(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"^n_functions: source_test has none of its own; count those of tr"):
        Sinusoid(**{**settings("sinusoid"), "n_functions": {"source_test": 3}})


def test_output_of_a_task_is_the_output_of_the_source(source: Sinusoid) -> None:
    classes = source.tasks("new", [0])[0].support.source_classes
    assert source.shares_labels and classes is not None and classes.tolist() == [0]
