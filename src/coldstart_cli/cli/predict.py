"""`coldstart predict`: labels and probabilities by a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from coldstart_cli.bundles import predicting
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli.arguments import check_there, choice, parsed, share
from coldstart_cli.datasets.readers.problems import OnBad
from coldstart_cli.files.untrusted import shaped


def run_predict(arguments: Sequence[str]) -> int:
    """`coldstart predict bundle=DIR input=PATH [--json|--csv] [threshold=P] [on_bad=skip]`.

    Raises:
        RequestError: for what cannot be read.
    """
    values, flags = parsed(
        "predict",
        arguments,
        ("bundle", "input", "threshold", "on_bad"),
        ("--json", "--csv"),
        needed=("bundle", "input"),
    )
    on_bad = choice("on_bad", values.get("on_bad", "stop"), get_args(OnBad))
    bundle = Bundle.load(values["bundle"])
    check_there(values["input"])
    threshold = share("threshold", values["threshold"]) if "threshold" in values else None
    form = "json" if "--json" in flags else "csv" if "--csv" in flags else "text"
    with shaped("bundle", values["bundle"]):
        problems = predicting.predict(bundle, values["input"], form, on_bad=on_bad, threshold=threshold)
    problems.warn(values["input"])
    return 0
