"""What `adapt` says beside its numbers, as a user reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from coldstart_cli.bundles.adapting.notices import of_choices, of_code, of_result
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.kept.card import Card, CrossValidation
from coldstart_cli.bundles.requests import adapt

Adapt = Callable[..., Card]
TABLE = ("dataset=tabular", "dataset.root=table.csv", "strategy=nearest_centroid")


@pytest.fixture
def adapted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Adapt:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})

    def call(*words: str) -> Card:
        common = (
            "hardware=cpu",
            "hardware.threads=1",
            "experiment=smoke",
            "overwrite=true",
            "untrained=true",
        )
        model = () if any("model=" in word for word in words) else ("model=mlp", "model.hidden=[8]")
        return adapt((*common, *model, *words), [], run=None, bundle=Path("b")).card

    return call


def rows(n: int, classes: str = "xy", seed: int = 0) -> list[str]:
    g = np.random.default_rng(seed)
    return [f"{g.normal() + 4 * (i % 2):.4f},{g.normal():.4f},{classes[i % len(classes)]}" for i in range(n)]


def write(lines: list[str], head: str = "a,b,label") -> None:
    Path("table.csv").write_text("\n".join([head, *lines]) + "\n")


def test_what_repeats_and_what_contradicts_itself_is_said(adapted: Adapt) -> None:
    write([*rows(20), *rows(20)[:4], "9,9,x", "9,9,y"])
    said = " ".join(adapted(*TABLE).said)
    assert "5 of 26 examples repeat another one, exactly or nearly (21 different ones)" in said
    assert "1 input has more than one label (table.csv row 26: x, table.csv row 27: y); correct them" in said


def test_a_class_of_one_example_is_named_and_the_others_are_judged(adapted: Adapt) -> None:
    write([*rows(20), "30,30,alone"])
    card = adapted(*TABLE)
    assert "1 class has one example, which is always learned from and never judged (alone)" in " ".join(
        card.said
    )
    found = card.cross_validation
    assert found is not None and found.not_judged == ("alone",) and found.judged == 20
    assert card.temperature_from == "cross-validation on the labels"


def test_classes_of_unequal_size_show_what_an_accuracy_hides(adapted: Adapt) -> None:
    g = np.random.default_rng(0)
    write([f"{g.normal()},{g.normal()},{'small' if i < 5 else 'big'}" for i in range(95)])
    card = adapted(*TABLE[:2], "strategy=logistic")
    found = card.cross_validation
    assert found is not None and found.mean > 0.9 and found.majority == pytest.approx(90 / 95)
    assert found.balanced_accuracy is not None and found.balanced_accuracy < 0.6
    assert next(iter(found.weakest)) == "small"
    assert "cannot be told from that of always answering with the largest class, 94.7 %" in " ".join(
        card.said
    )


def test_unlabelled_rows_that_a_strategy_does_not_use_are_said(adapted: Adapt) -> None:
    write(rows(20))
    Path("free.csv").write_text("a,b\n1,2\n3,4\n")
    said = " ".join(adapted(*TABLE, "dataset.unlabelled=free.csv").said)
    assert "dataset.unlabelled: nearest_centroid does not use the 2 unlabelled examples" in said
    used = adapted(*TABLE[:2], "strategy=coral", "dataset.unlabelled=free.csv", "evaluation.steps=[1]")
    assert "does not use" not in " ".join(used.said)


def test_rows_of_one_person_stay_together(adapted: Adapt) -> None:
    # Every person answers one label alone and sits at a place of their own: who it is tells the label.
    g = np.random.default_rng(0)
    people = [(f"p{i}", *g.normal(0, 9, 2), "xy"[i % 2]) for i in range(12)]
    write(
        [f"{x + g.normal(0, 0.1)},{y + g.normal(0, 0.1)},{label},{name}" for name, x, y, label in people * 8],
        "a,b,label,person",
    )
    words = (*TABLE[:2], "strategy=logistic", "strategy.C=1000", "model.hidden=[64]")
    apart = adapted(*words, "dataset.ignore=[person]").cross_validation
    together = adapted(*words, "dataset.group_column=person").cross_validation
    assert apart is not None and together is not None and apart.low is not None and together.low is not None
    assert (together.origins, apart.origins) == (12, None) and together.mean < apart.mean
    assert together.high is not None and apart.high is not None
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_batch_norm_is_settled_so_that_answers_do_not_depend_on_the_batch(adapted: Adapt) -> None:
    g = np.random.default_rng(0)
    x = np.concatenate([g.normal(c, 1, (6, 1, 28, 28)) for c in (-1, 1)]).astype(np.float32)
    np.savez("images.npz", x=x, y=np.repeat(["dark", "light"], 6))
    model = ("model=conv4_small", "model.norm=batch_transductive")
    card = adapted(*model, "strategy=protonet", "dataset=arrays", "dataset.root=images.npz")
    assert "keeps the statistics of the 12 labelled examples" in " ".join(card.said)
    bundle = Bundle.load("b")
    together, alone = bundle.predict(x), [bundle.predict(x[i : i + 1]) for i in range(12)]
    assert together.probabilities is not None
    for i, one in enumerate(alone):
        torch.testing.assert_close(one.probabilities, together.probabilities[i : i + 1], atol=1e-4, rtol=1e-3)


def measured(mean: float, plain: float) -> CrossValidation:
    return CrossValidation(
        metric="accuracy", mean=mean, half_width=None, confidence=0.95, folds=4, repeats=2, low=mean - 0.1,
        high=mean + 0.1, judged=40, different=40, majority=0.1, nearest_centroid=plain,
    )  # fmt: skip


def test_a_result_below_the_nearest_class_mean_says_what_to_try() -> None:
    config = {"names": {"strategy": "linear_probe"}, "strategy": {"lr": 0.01}}
    (line,) = of_result(measured(0.449, 0.97), config, ["a", "b"])
    assert (
        "answers 97.0 % rightly, better than linear_probe with 44.9 %; try strategy=nearest_centroid" in line
    )
    assert "larger strategy.lr" in line
    closed = {"names": {"strategy": "logistic"}, "strategy": {}}
    (line,) = of_result(measured(0.449, 0.97), closed, ["a", "b"])
    assert line.endswith("; try strategy=nearest_centroid")  # not the one that did worse
    assert of_result(measured(0.95, 0.97), config, ["a", "b"]) == []  # one of forty examples


def test_a_choice_at_the_edge_of_its_grid_is_said() -> None:
    config, chosen = {"strategy": {"inner_lr": 0.4}}, "cross-validation on the labels"
    (most,) = of_choices(config, [0, 1, 10], (10, 10), chosen, 1.0)
    assert "10 steps are the most that were tried; try more (evaluation.steps=[10,20,50,100])" in most
    (fewest,) = of_choices(config, [0, 1, 10], (0, 0), chosen, 1.0)
    assert "0 steps are the fewest that were tried" in fewest and "smaller strategy.inner_lr" in fewest
    assert (
        of_choices(config, [0, 1, 10], (1, 1), chosen, 1.0)
        == of_choices(config, [10], (10, 10), "given", None)
        == []
    )
    ended = of_choices({**config, "names": {"strategy": "setfit"}}, [0, 10_000], (10_000, 24), chosen, 1.0)
    assert ended == ["setfit ends by itself, here after 24 steps of 10,000"]
    assert "temperature is at the limit" in of_choices(config, [0, 1, 10], (1, 1), chosen, 0.02)[0]


def test_a_bundle_of_code_that_no_installed_package_holds_is_said() -> None:
    config = {
        "strategy": {"_target_": "coldstart_cli.strategies.MAML", "teacher": {"_target_": "mine.nets.Net"}},
        "model": {"_target_": "other.Net"},
        "trust": ["mine"],
    }
    (said,) = of_code(config)
    assert said.startswith("the bundle needs mine.nets.Net, which predict,") and "coldstart.plugins" in said
    assert of_code({**config, "trust": []}) == []
    assert of_code({**config, "trust": ["coldstart_cli"]}) == []
