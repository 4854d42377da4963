"""What a search may choose from, by the grammar of Hydra's sweeps."""

from __future__ import annotations

import pytest

from coldstart_cli.config.composition import search_space

optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")


RATE = "strategy.inner_lr=tag(log,interval(0.001,0.1))"


def test_search_space_reads_hydras_grammar() -> None:
    fixed, space = search_space(
        ["seed=1", RATE, "model.activation=choice(relu,tanh)", "strategy.inner_steps=range(1,4)",
         "optimizer.lr=0.1,0.2", "training.steps=int(interval(10,20))"]
    )  # fmt: skip
    assert fixed == ["seed=1"]
    assert (space["strategy.inner_lr"].low, space["strategy.inner_lr"].log) == (0.001, True)
    assert space["model.activation"].choices == ("relu", "tanh")
    assert space["strategy.inner_steps"].choices == (1, 2, 3) and space["optimizer.lr"].choices == (0.1, 0.2)
    assert space["training.steps"].whole and isinstance(space["training.steps"].first, int)
    assert space["training.steps"].distribution(optuna) == optuna.distributions.IntDistribution(10, 20)


@pytest.mark.parametrize(
    ("word", "value", "end"),
    [
        ("a=interval(0.0,1.0)", 0.99, "largest"),
        ("a=interval(0.0,1.0)", 0.5, None),
        ("a=tag(log,interval(0.001,1.0))", 0.0012, "smallest"),
        ("a=tag(log,interval(0.001,1.0))", 0.03, None),
        ("a=interval(1,9)", 9, "largest"),
        ("a=interval(1,9)", 8, None),
        ("a=choice(1,2,4)", 1, "smallest"),
        ("a=choice(1,2,4)", 2, None),
        ("a=choice(1,2)", 2, None),
        ("a=choice(sgd,adam,x)", "sgd", None),
    ],
)
def test_an_end_of_what_is_searched_is_told(word: str, value: object, end: str | None) -> None:
    _, space = search_space([word])
    assert space["a"].end(value) == end
