"""What loggers with a store of many runs share: MLflow, W&B, Trackio.

A store that cannot be opened is refused before training. A run that is resumed continues the tracker's run,
whose name is kept in the run directory. Keys and passwords come from the trackers' own environment variables
(MLFLOW_TRACKING_URI, WANDB_API_KEY, HF_TOKEN), never from a config, which is stored and shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coldstart_cli.files.durable import flat, read_json, write_json


def scalars(config: Mapping[str, Any]) -> dict[str, Any]:
    """{a: {b: 1}} -> {"a.b": 1}; lists and empty mappings as JSON."""
    return {
        key: json.dumps(value) if isinstance(value, Mapping | list) else value
        for key, value in flat(config).items()
    }


def keep_id(run_path: Path, tracker: str, identity: str) -> None:
    """Writes into the run directory what the tracker calls this run."""
    path = run_path / "trackers.json"
    known = read_json(path, "run") if path.exists() else {}
    write_json(path, {**known, tracker: identity})


def kept_id(run_path: Path, tracker: str) -> str | None:
    path = run_path / "trackers.json"
    return read_json(path, "run").get(tracker) if path.exists() else None


def _allowed(name: str) -> str:
    """MLflow's names have letters, digits and _-./ : alone."""
    return re.sub(r"[^\w\-./ :]", "_", name)
