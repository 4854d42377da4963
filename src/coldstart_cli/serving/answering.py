"""What a bundle says of several requests in one call, the same as `coldstart predict` says of each."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.predicting import predicting
from coldstart_cli.datasets.own.layouts import raw_values
from coldstart_cli.errors import RequestError, line, unforeseen
from coldstart_cli.serving.reading import Asked, Refused

_log = logging.getLogger(__name__)

Answer = Mapping[str, Any]
"""The JSON object of a response."""


def answered(bundle: Bundle, asked: Sequence[Asked], batch_size: int) -> list[Answer | Refused]:
    """An answer for each request; one that cannot be answered takes none of the others with it.

    Args:
        batch_size: inputs in one call of the predictor, at most.
    """
    try:
        outputs = _outputs(bundle, [value for one in asked for value in one.inputs], batch_size)
    except Exception as error:
        if len(asked) == 1:
            return [_refusal(error)]
        half = len(asked) // 2
        return [*answered(bundle, asked[:half], batch_size), *answered(bundle, asked[half:], batch_size)]
    parts = torch.split(outputs, [len(one.inputs) for one in asked])
    return [_answer(bundle, one, part) for one, part in zip(asked, parts, strict=True)]


def _outputs(bundle: Bundle, inputs: Sequence[Any], batch_size: int) -> Tensor:
    """(n, n_outputs) of raw inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of texts that are cut, which `_remarks` tells
        parts = raw_values(bundle.card.build.recipe, bundle.preprocess, inputs, chunk=batch_size, first=1)
        return torch.cat([bundle.outputs(part.inputs) for part in parts])


def _refusal(error: Exception) -> Refused:
    if isinstance(error, RequestError | ValueError):
        return Refused(422, " ".join(str(error).split()))
    _log.error("%s", line(unforeseen(error)[0]))
    return Refused(500, f"server: {type(error).__name__}; see what it says where it runs")


def _answer(bundle: Bundle, one: Asked, outputs: Tensor) -> Answer | Refused:
    for i, sound in enumerate(outputs.isfinite().all(-1).tolist(), start=1):
        if not sound:
            return Refused(
                422,
                f"input row {i}: the predictor's outputs for it are no finite numbers; give values such as "
                "it was adapted to",
            )
    prediction = bundle.read(outputs, one.threshold)
    rows = predicting.rows([""] * len(outputs), prediction)
    answers = [
        {
            **{key: value for key, value in row.items() if key != "input"},
            **predicting.further(prediction, i, one.top_k, probabilities=one.probabilities),
        }
        for i, row in enumerate(rows)
    ]
    return {"answers": answers, "remarks": _remarks(bundle, one)}


def _remarks(bundle: Bundle, one: Asked) -> list[str]:
    """What is to be said of this request's inputs: texts of which the end was not read."""
    if bundle.card.build.recipe["layout"] != "text":
        return []
    n_cut, _ = bundle.preprocess.cut(one.inputs)
    of = f"inputs: {n_cut:,} of {len(one.inputs):,} texts"
    most = bundle.preprocess.max_length
    return [f"{of} are longer than {most} tokens and were cut; split them"] if n_cut else []
