"""A bundle on labelled files: every number against the bundle's own predictions, counted here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.errors import RequestError
from coldstart_cli.metrics.held_out import binomial
from tests.kit.adapted import adapt
from tests.kit.places import REPOSITORY

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout" / "bundle"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by relative path


def write(path: str, rows: list[tuple[float, float, str]]) -> None:
    lines = [f"{a:.4f},{b:.4f},{label}" for a, b, label in rows]
    Path(path).write_text("\n".join(["a,b,label", *lines]) + "\n")


def drawn(n: int, seed: int, labels: str = "xy") -> list[tuple[float, float, str]]:
    rng = np.random.default_rng(seed)
    return [(*rng.normal((5.5, -0.7), (4, 3)).tolist(), labels[rng.integers(len(labels))]) for _ in range(n)]


def test_every_number_is_that_of_the_predictions() -> None:
    rows = drawn(60, 0)
    write("test.csv", rows)
    bundle = Bundle.load(EARLIER)
    found = bundle.evaluate("test.csv").classes
    assert found is not None
    said = bundle.predict([{"a": round(a, 4), "b": round(b, 4)} for a, b, _ in rows])
    assert said.probabilities is not None
    labels, p = [label for _, _, label in rows], said.probabilities.numpy()
    right = np.array([a == b for a, b in zip(said.labels, labels, strict=True)])
    assert found.accuracy.value == right.mean()
    assert found.accuracy.low == binomial(right.mean(), 60, 0.95).low
    counts = {(one.label, one.answer): one.rows for one in found.confusion}
    pairs = list(zip(labels, said.labels, strict=True))
    assert counts == {pair: pairs.count(pair) for pair in set(pairs)}
    x = next(one for one in found.classes if one.label == "x")
    assert x.recall == counts["x", "x"] / labels.count("x")
    assert x.precision == counts["x", "x"] / said.labels.count("x")
    of_label = p[np.arange(60), ["xy".index(label) for label in labels]]
    assert found.calibrated.nll == pytest.approx(-np.log(of_label).mean())
    assert found.calibrated.brier == pytest.approx((2 * (1 - of_label) ** 2).mean(), abs=1e-6)
    assert found.before.temperature == 1.0
    bins = np.ceil(p.max(1) * 15).astype(int)
    ece = sum(abs(right[bins == m].sum() - p.max(1)[bins == m].sum()) for m in {*bins.tolist()}) / 60
    assert found.calibrated.ece == pytest.approx(ece, abs=1e-4)
    first = min(bins)
    assert found.calibrated.bins[0].accuracy == right[bins == first].mean()
    assert found.calibrated.bins[0].probability == pytest.approx(p.max(1)[bins == first].mean(), abs=1e-3)
    assert sum(one.rows for one in found.calibrated.bins) == sum(one.rows for one in found.before.bins) == 60
    surest = np.argsort(-p.max(1))[:15]
    quarter = next(one for one in found.curve if one.share == 0.25)
    assert quarter.precision == right[surest].mean() and found.curve[0].precision == right.mean()
    wrong = np.flatnonzero(~right)
    assert {one.place for one in found.doubts} == {f"test.csv row {i + 2}" for i in wrong}
    first = found.doubts[0]
    assert first.probability == pytest.approx(p.max(1)[wrong].max(), abs=1e-6)
    assert first.columns["label"] == first.label != first.answer


def test_labels_that_it_does_not_know_are_counted_and_left_out() -> None:
    write("known.csv", drawn(40, 1))
    write("open.csv", [*drawn(40, 1), (500.0, 0.0, "z"), (400.0, 1.0, "z"), (5.5, -0.7, "w")])
    bundle = Bundle.load(EARLIER)
    alone, found = bundle.evaluate("known.csv"), bundle.evaluate("open.csv")
    assert alone.classes is not None and found.classes is not None
    assert found.classes.accuracy == alone.classes.accuracy and found.rows == 40
    unknown = found.classes.unknown
    assert unknown is not None and dict(unknown.labels) == {"z": 2, "w": 1} and unknown.rows == 3
    assert 0 <= unknown.by_probability.auroc <= 1
    assert alone.classes.unknown is None


def test_a_guarantee_is_given_or_refused() -> None:
    bundle = Bundle.load(EARLIER)
    rows = drawn(300, 2)
    said = bundle.predict([{"a": a, "b": b} for a, b, _ in rows]).labels
    write("right.csv", [(a, b, str(label)) for (a, b, _), label in zip(rows, said, strict=True)])
    found = bundle.evaluate("right.csv", precision=0.95).classes
    assert found is not None and found.guarantee is not None and found.guarantee.found is not None
    assert found.guarantee.found.share == 1.0 and found.guarantee.found.low >= 0.95
    write("random.csv", rows)
    found = bundle.evaluate("random.csv", precision=0.95).classes
    assert found is not None and found.guarantee is not None and found.guarantee.found is None
    json.dumps(bundle.evaluate("random.csv", precision=0.95).as_json(), allow_nan=False)


def test_repeated_rows_count_once() -> None:
    write("once.csv", drawn(30, 3))
    write("thrice.csv", drawn(30, 3) * 3)
    bundle = Bundle.load(EARLIER)
    once, thrice = bundle.evaluate("once.csv"), bundle.evaluate("thrice.csv")
    assert (thrice.rows, thrice.different) == (90, 30)
    assert once.classes is not None and thrice.classes is not None
    assert thrice.classes.accuracy == once.classes.accuracy


def test_reals_are_scored_in_their_own_unit(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)).astype(np.float32)
    np.savez("points.npz", x=x, y=(100 + 3 * x[:, :1]).astype(np.float64))
    assert adapt(capsys, "strategy=finetune", "evaluation.steps=[3]")[0] == 0
    bundle = Bundle.load("b")
    found = bundle.evaluate("points.npz")
    values = bundle.predict(x).values
    assert values is not None and found.reals is not None
    errors = values.numpy()[:, 0] - (100 + 3 * x[:, 0])
    assert found.reals.mse.value == pytest.approx((errors**2).mean(), rel=1e-4)
    assert found.reals.mae.value == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert found.reals.r2.value == pytest.approx(1 - (errors**2).mean() / (3 * x[:, 0]).var(), rel=1e-3)
    assert "has learned from" in found.said[0]
    with pytest.raises(RequestError, match="precision: the bundle answers with numbers"):
        bundle.evaluate("points.npz", precision=0.9)
