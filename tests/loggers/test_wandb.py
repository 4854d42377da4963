"""What Weights & Biases keeps of a run, or of one that goes on."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.loggers.tracker_ids import kept_id
from coldstart_cli.loggers.wandb import WandB
from tests.kit.tracked import CONFIG, tell


@pytest.fixture
def wandb_logger(run_path: Path) -> Iterator[Callable[..., WandB]]:
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")

    def make(*, resumed: bool = False) -> WandB:
        return WandB(True, run_path, CONFIG, resumed, project="p", entity=None, mode="offline")

    yield make
    wandb.teardown()  # ends the process that W&B writes with


def wandb_records(file: Path) -> list[Any]:
    """The records of an offline run: LevelDB's log format, blocks of 32 KiB after a head of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, records, partial = file.read_bytes(), 7, [], b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        partial += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(partial))
            partial = b""
    return records


def logged(records: list[Any], kind: str) -> list[dict[str, Any]]:
    """The items of all records of a kind, as {name: value}."""
    found = []
    for record in records:
        if record.WhichOneof("record_type") == kind:
            part = getattr(record, kind)
            items = part.item if kind == "history" else part.update
            found.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return found


def test_wandb_keeps_curves_config_and_results_and_a_run_that_goes_on(
    run_path: Path, wandb_logger: Callable[..., WandB]
) -> None:
    tell(wandb_logger(), range(1, 6), finish=False)
    name = kept_id(run_path, "wandb")
    time.sleep(1 - time.time() % 1)  # its folders are named by the second
    tell(wandb_logger(resumed=True), range(6, 11))
    assert kept_id(run_path, "wandb") == name
    sys.modules["wandb"].teardown()  # its process writes on for a moment
    first, second = sorted(run_path.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb"))
    before, after = wandb_records(first), wandb_records(second)
    begun = next(record.run for record in before if record.WhichOneof("record_type") == "run")
    assert (begun.run_id, begun.display_name, begun.project) == (name, "maml-sinusoid", "p")
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert {key: config[key] for key in CONFIG} == CONFIG
    rows = [row for row in (*logged(before, "history"), *logged(after, "history")) if "loss" in row]
    assert {row["step"]: row["loss"] for row in rows} == {step: 1 / step for step in range(1, 11)}
    results = {key: value for row in logged(after, "summary") for key, value in row.items()}
    assert results["1-shot/mse"] == 0.25
    exits = [r.exit.exit_code for r in (*before, *after) if r.WhichOneof("record_type") == "exit"]
    assert exits == [1, 0]
    tell(wandb_logger(resumed=False), range(1, 2))
    assert kept_id(run_path, "wandb") != name


def test_wandb_quiet_prints_nothing(
    wandb_logger: Callable[..., WandB], capfd: pytest.CaptureFixture[str]
) -> None:
    tell(wandb_logger(), range(1, 3))
    assert capfd.readouterr() == ("", "")
