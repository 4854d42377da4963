"""What a bundle was made of: as its card says it, and as a digest by which it is found again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from coldstart_cli import __version__
from coldstart_cli.bundles.kept.card import FORMAT, DataFacts
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.digests import digest, tensor_parts
from coldstart_cli.experiment.parts import files_read_by
from coldstart_cli.runs.run import Run

_OF_THE_FOLDER = ("bundle", "keep_versions", "overwrite")
_PLACES = ("root", "unlabelled", "file_list", "labelled")
"""Keys of files whose content counts."""
_DETERMINING = (
    "strategy", "model", "optimizer", "training", "evaluation", "seed", "hardware", "names", "trust",
)  # fmt: skip


def made_of(
    config: Mapping[str, Any], licence: str | None, run: Run | None, labelled: Labelled
) -> dict[str, Any]:
    """Fields of the card: who made it, and from what."""
    counts = labelled.targets.bincount(minlength=len(labelled.classes)).tolist() if labelled.classes else []
    return {
        "format": FORMAT,
        "made_by": f"coldstart {__version__}",
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "strategy": config["names"]["strategy"],
        "model": config["names"]["model"],
        "run": None if run is None else run.path.name,
        "licence": licence,
        "data": DataFacts(
            root=config["dataset"]["root"],
            labelled=tuple(config["dataset"].get("labelled", ())),
            on_bad=config["dataset"].get("on_bad", "stop"),  # published data have no such key
            hash=labelled.fingerprint,
            examples=len(labelled),
            skipped=len(labelled.skipped),
        ),
        "labels": labelled.classes,
        "examples_of": dict(zip(labelled.classes, counts, strict=True)) if counts else {},
    }


def determined_by(
    config: Mapping[str, Any],
    asked: Mapping[str, Any],
    run: Run | None,
    strategy: Strategy,
    labelled: Labelled,
    test: Labelled | None,
) -> str:
    """A digest of all that determines a bundle: another one is made only where it differs.

    Files of data count by what they hold, wherever they lie.

    Args:
        asked: the keys of conf/adapt.yaml.
        test: examples that are scored, or None.
    """
    node = {key: value for key, value in config["dataset"].items() if key not in _PLACES}
    asked = {key: value for key, value in asked.items() if key not in _OF_THE_FOLDER}
    files = files_read_by(config, strategy)
    parts = [
        json.dumps([__version__, node, asked, None if run is None else run.path.name], sort_keys=True),
        json.dumps({key: config[key] for key in _DETERMINING}, sort_keys=True),
        repr(None if files is None else files.contents),
        labelled.fingerprint,
        "" if test is None else test.fingerprint,
    ]
    for inputs in (labelled.unlabelled, labelled.names):
        parts += [] if inputs is None else [digest(tensor_parts(inputs))]
    return digest(parts)
