"""The values of an evaluation as JSON."""

from __future__ import annotations

from coldstart_cli.bundles.evaluating.evaluation import Estimate, Evaluation, OfReals


def test_json_has_every_key_and_no_number_that_json_lacks() -> None:
    known, unknown = Estimate(value=1.0, low=0.5, high=None), Estimate(value=None, low=None, high=1.0)
    found = Evaluation(
        bundle="b",
        input="t.csv",
        rows=3,
        different=2,
        origins=None,
        classes=None,
        reals=OfReals(mse=known, rmse=known, mae=known, r2=unknown),
        said=("x",),
    ).as_json()
    assert found["classes"] is None and found["said"] == ["x"]
    assert found["reals"]["mse"] == {"value": 1.0, "low": 0.5, "high": None}
