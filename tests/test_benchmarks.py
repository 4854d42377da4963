"""The benchmarks of the repository: equal sides, the page, the fitted lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import growth, label_next, page
from benchmarks.bench import BF16, _arguments, _equal_sides, difference, table, text
from benchmarks.peers import Side
from benchmarks.plain import PlainNetwork, Problem, Step, plain_step, problem
from coldstart_cli.bench.rows import ROWS, built


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def exact(name: str, *overrides: str) -> Problem:
    """A row with two tasks, in float64."""
    row = next(row for row in ROWS if row.name == name)
    small = (*row.overrides, "strategy.meta_batch_size=2", *overrides)
    case = built(replace(row, overrides=small), ("hardware=cpu", "hardware.threads=1"))
    case.strategy.double()
    return problem(case)


LEARNERS = (
    "MAML, sinusoid, 25 tasks", "MAML, 4 tasks", "FOMAML, 16 tasks", "ANIL, 16 tasks",
    "Reptile, 5 tasks of 5 steps", "ProtoNet, 5-way, fp32",
)  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
def test_our_meta_gradient_is_that_of_plain_autograd(name: str) -> None:
    few = () if "sinusoid" in name else ("dataset.n_query=3",)
    asked = exact(name, *few)
    _, different = _equal_sides(asked, asked.network(), {})
    assert different["ours"] < 1e-7


def test_a_peer_that_does_less_is_refused() -> None:
    asked = exact("MAML, sinusoid, 25 tasks")

    def lazy(case: Problem, network: PlainNetwork) -> Step:
        full = plain_step(case, network)
        return lambda tasks: full(tasks[:1])

    sides: dict[str, Side] = {"lazy": lazy}
    with pytest.raises(AssertionError, match="the meta-gradient of lazy"):
        _equal_sides(asked, asked.network(), sides)


def test_difference_is_relative_to_the_norm_and_infinite_where_a_tensor_lacks() -> None:
    wanted = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    found = {"a": torch.tensor([3.0, 0.3]), "b": torch.tensor([4.4])}
    assert difference(found, wanted) == pytest.approx(0.1)
    assert difference({"a": wanted["a"]}, wanted) == float("inf")


def test_table_leaves_a_dash_where_a_peer_has_no_such_strategy() -> None:
    spread = {"low": 1.0, "middle": 2.0, "high": 3.0, "n": 5}
    rows = [
        {
            "name": "both",
            "of_peak": 0.5,
            "ms": {"ours": spread, "higher": spread},
            "times": {"higher": spread},
        },
        {"name": "ours alone", "of_peak": 0.25, "ms": {"ours": spread}, "times": {}},
    ]
    lines = table(rows).splitlines()
    assert lines[0].split(" | ")[-1] == "higher |"
    assert lines[2].endswith("| 2.0, **2.00x** (1.00-3.00) |")
    assert lines[3].endswith("| 25% | - |")


def test_section_says_what_was_measured_with_and_without_peers() -> None:
    peaks = {"conv_fp32": 219.0, "conv_bf16": 441.0, "gemm_fp32": 150.0, "gemm_bf16": 500.0}
    spread = {"low": 1.0, "middle": 2.0, "high": 3.0, "n": 5}
    both = {"ours": spread, "learn2learn": spread, BF16: spread}
    times = {"learn2learn": spread, BF16: spread}
    row = {"name": "ProtoNet, bf16", "of_peak": 0.5, "ms": both, "times": times, "different": {"ours": 3e-13}}
    alone = [
        {"name": "ProtoNet, 4 tasks", "ms": spread, "times": None},
        {"name": "FiLM", "ms": spread, "times": spread},
    ]
    with_peers = text(peaks, [row], alone)
    assert "219 GFLOP/s" in with_peers
    assert "at most 3e-13 of its norm off" in " ".join(with_peers.split())
    assert "bf16 autocast too: ProtoNet, bf16 2.0 ms, 2.00x." in with_peers
    assert "| FiLM | 2.0 (1.0-3.0) | 2.00 (1.00-3.00) |" in with_peers
    assert "| ProtoNet, 4 tasks | 2.0 (1.0-3.0) | 1 |" in with_peers
    assert "| ProtoNet, bf16 |" not in text(peaks, [], alone)


def test_writing_some_rows_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _arguments(["--only", "MAML", "--write"])
    assert "leave --only out" in capsys.readouterr().err


def test_page_replaces_one_section_and_keeps_the_order() -> None:
    old = page.replaced("", "growth", "## G")
    both = page.replaced(old, "bench", "## B\n\n| a |")
    assert both.index("## B") < both.index("## G")
    again = page.replaced(both, "growth", "## new")
    assert "## G" not in again
    assert "## B\n\n| a |" in again
    assert page.replaced(again, "growth", "## new") == again


def test_fitted_line_is_that_of_numpys_least_squares() -> None:
    x, y = [1.0, 2.0, 4.0, 9.0], [2.0, 3.5, 9.0, 17.0]
    line = growth.fitted(x, y)
    (intercept, slope), *_ = np.linalg.lstsq(np.c_[np.ones(4), x], np.array(y), rcond=None)
    assert (line.intercept, line.slope) == pytest.approx((intercept, slope))
    assert line.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)


def test_verdict_tells_flat_linear_and_neither() -> None:
    x = [1.0, 2.0, 4.0, 8.0]
    assert growth.verdict(x, [10.0, 10.4, 9.9, 10.2]) == "flat"
    assert growth.verdict(x, [3.0, 5.0, 9.0, 17.0]) == "linear"
    assert growth.verdict(x, [1.0, 4.0, 16.0, 64.0]) == "no line"


def test_growth_points_name_rows_and_keys_that_exist() -> None:
    names = {row.name for row in ROWS}
    assert all(axis.row in names and "." in axis.key for axis in growth.AXES)
    found = {axis.title: [{"x": float(v), "seconds": v / 100, "bytes": 1e6 * v} for v in axis.values]
             for axis in growth.AXES}  # fmt: skip
    assert growth.text(found).count("linear: ") == 2 * len(growth.AXES)


def test_labels_saved_are_those_that_chance_needs_more() -> None:
    chance = [{10: 0.4, 20: 0.6, 40: 0.8}, {10: 0.4, 20: 0.6, 40: 0.7}]
    ours = [{10: 0.6, 20: 0.8, 40: 0.9}, {10: 0.5, 20: 0.7, 40: 0.9}]
    assert label_next.saved(ours, chance, 40) == "20.0 ± 0.0"
    assert label_next.saved(ours, chance, 20).startswith("7.5 ± ")  # reached with 10, and with 15
    assert label_next.saved(chance, ours, 40) == "not reached in 2 of 2"


def test_a_curve_counts_classes_without_a_label_as_wrong() -> None:
    """Heaps far apart: ten typical examples name them all, and answer all that is fresh."""
    of = np.repeat(np.arange(4), 40)
    x = (
        9 * np.eye(4, dtype=np.float32)[of]
        + np.random.default_rng(0).normal(size=(160, 4)).astype(np.float32) / 9
    )
    data = label_next.Data("heaps", 4, x, of, np.tile([False, True], 80))
    rows = (np.flatnonzero(~data.fresh), np.flatnonzero(data.fresh))
    strategy = label_next.strategy_of("nearest_centroid", 4)
    found = label_next.curve(strategy, data, rows, label_next.as_the_command, 0)
    assert found[10] == 1.0 and list(found) == list(range(10, 80, 10))
    one = label_next.curve(strategy, data, rows, lambda now, seed: np.arange(10), 0)
    assert one[10] == 0.25
