"""The load test of benchmarks/serving.py, for seconds: no error but 503, and memory that does not grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.serving import bodies, load, memory
from coldstart_cli.bundles.bundle import Bundle
from tests.kit.served import served


def test_more_clients_than_places_see_answers_and_503_alone(table: Bundle) -> None:
    asked = [json.dumps({"inputs": [[i, 1]]}).encode() for i in range(9)]
    with served(table, "waiting=2", "per_minute=null") as client:
        seen = load(client.port, asked, clients=16, requests=500)
    assert {*seen.statuses} == {200, 503} and seen.statuses[200] == len(seen.latencies) == 500
    assert 0 < seen.quantile(0.5) <= seen.quantile(0.95)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_requests(table: Bundle) -> None:
    asked = [json.dumps({"inputs": [{"a": i, "b": 1, "note": "n" * 100_000}]}).encode() for i in range(3)]
    with served(table, "per_minute=null") as client:
        client.told.clear()
        load(client.port, asked, clients=4, requests=100)
        before = memory("self")
        assert {*load(client.port, asked, clients=4, requests=400).statuses} == {200}
        assert memory("self") - before < 10  # of 40 MB that were sent


def test_a_line_is_a_text_or_json(tmp_path: Path) -> None:
    (tmp_path / "inputs").write_text('How are you?\n{"a": 1}\n[1, 2]\n')
    found = [json.loads(body)["inputs"][0] for body in bodies(tmp_path / "inputs")]
    assert found == ["How are you?", {"a": 1}, [1, 2]]
