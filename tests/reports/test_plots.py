"""Pictures of a run: the numbers in them, names that stay text, and what happens where none can be drawn."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from coldstart_cli.files.durable import append_jsonl, write_json
from coldstart_cli.metrics.json_edge import to_json
from coldstart_cli.metrics.results import Interval, Names, Summary
from coldstart_cli.reports import plots
from coldstart_cli.runs.run import Run, write_config
from tests.kit import summaries as kit
from tests.kit.summaries import record

NAMES: dict[str, str] = {"strategy": "maml", "model": "mlp", "dataset": "sinusoid", "baseline": "scratch"}


def history(n: int = 100) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"step": step, "loss": float(step % 7)} for step in range(1, n + 1)]
    return [*rows, {"step": 50, "validation_accuracy": 0.5}, {"step": 100, "validation_accuracy": None}]


def summary(k_shots: tuple[int, ...] = (1, 5), *, metric: str = "accuracy", **changes: Any) -> Summary:
    rows = [
        record(role, "new", k, task, step,
               0.2 + 0.01 * step + 0.02 * k + lift - 0.1 * (role == "baseline"))
        for role, steps in (("strategy", (0, 1, 3)), ("baseline", (0, 30)))
        for k in k_shots for step in steps for task, lift in (("a", 0.0), ("b", 0.1))
        if k or role == "strategy"
    ]  # fmt: skip
    chosen = {"strategy": dict.fromkeys(k_shots, 3), "baseline": {k: 30 for k in k_shots if k}}
    return kit.summary(rows, chosen, metric=metric, **{"names": Names(**NAMES), "n_way": 5, **changes})


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata()))  # type: ignore[arg-type]
        for line in axes.get_lines()
    }


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]


def test_training_has_axes_for_each_metric_and_marks_the_best_step() -> None:
    figure = plots.training(history(), 50, NAMES)
    assert figure is not None
    loss, validation = figure.axes
    raw, smooth, best = loss.get_lines()
    assert list(raw.get_ydata()) == [row["loss"] for row in history() if "loss" in row]
    assert smooth.get_ydata()[49] == pytest.approx(sum(s % 7 for s in range(48, 53)) / 5)
    assert list(best.get_xdata()) == [50, 50]
    assert list(validation.get_lines()[0].get_xdata()) == [50]  # what was not finite is no point
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "validation_accuracy"]
    assert "step (dotted: the best, 50)" in texts(figure)


def test_training_without_history_is_no_figure() -> None:
    assert plots.training([], 0, NAMES) is None


def test_training_of_few_points_is_not_smoothed_and_marks_no_best_step() -> None:
    figure = plots.training(history(20)[:-2], 0, NAMES)
    assert figure is not None
    assert len(figure.axes[0].get_lines()) == 1
    assert "step" in texts(figure)


def test_learning_curve_holds_the_numbers_of_the_summary() -> None:
    # strategy at k = 1: .22 + .01 step for task a and .1 more for b; baseline .1 less
    steps, shots = plots.learning_curve(summary()).axes
    x, y = lines(steps)["1-shot"]
    assert x == [0, 1, 3]
    assert y == pytest.approx([27.0, 28.0, 30.0])
    baseline = next(line for line in steps.get_lines() if line.get_linestyle() == "--")
    assert list(baseline.get_xdata()) == [0, 30]
    assert list(baseline.get_ydata()) == pytest.approx([17.0, 47.0])
    band = steps.collections[0].get_paths()[0].get_extents()
    assert (band.x0, band.x1) == (0, 3)
    half = 100 * 12.7062 * 0.1 / 2  # t with one degree of freedom, sd .1 / sqrt 2, two tasks
    assert band.y0 == pytest.approx(27.0 - half, abs=0.01)
    assert band.y1 == pytest.approx(30.0 + half, abs=0.01)
    ours, theirs = shots.containers
    assert list(ours[0].get_ydata()) == pytest.approx([30.0, 38.0])
    assert list(theirs[0].get_ydata()) == pytest.approx([47.0, 55.0])
    assert steps.get_ylabel() == "accuracy (%)"


def test_learning_curve_of_one_k_has_no_axes_against_k() -> None:
    assert len(plots.learning_curve(summary((1,))).axes) == 1


def test_learning_curve_without_baseline_or_at_zero_shots_shows_what_there_is() -> None:
    bare = kit.with_shots(summary(names=Names("maml", "mlp", "sinusoid", None)), baseline=None)
    figure = plots.learning_curve(bare)
    assert not [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "--"]
    figure = plots.learning_curve(summary((0, 5)))
    ours, theirs = figure.axes[1].containers
    assert list(ours[0].get_xdata()) == [0, 5]
    assert list(theirs[0].get_xdata()) == [5]


def test_learning_curve_shows_errors_by_magnitude_and_passes_over_what_diverged() -> None:
    curve = {0: Interval(0.2, 0.1, 2), 1: Interval(5000.0, 10.0, 2), 3: Interval(math.nan, math.nan, 2)}
    wild = kit.with_outcome(summary(metric="mse"), 1, "new", curve=curve)
    figure = plots.learning_curve(wild)
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylabel() == "mse"
    assert plots.picture(figure).startswith(b"\x89PNG")
    assert plots.learning_curve(summary(metric="mse")).axes[0].get_yscale() == "linear"


def test_learning_curve_has_axes_for_other_metrics_in_their_units() -> None:
    made = summary((1,))
    metrics = {"balanced_accuracy": Interval(0.25, 0.01, 2), "wrong_by": Interval(3.0, math.inf, 2)}
    _, others = plots.learning_curve(kit.with_outcome(made, 1, "new", metrics=metrics)).axes
    shares, reals = others.containers
    assert (list(shares[0].get_xdata()), list(shares[0].get_ydata())) == ([1], [25.0])
    assert list(reals[0].get_ydata()) == [3.0]
    labels = [text.get_text() for text in others.get_legend().get_texts()]
    assert labels == ["balanced_accuracy, adapted (%)", "wrong_by, adapted"]


HOSTILE = "$\\frac{$ [red]<b>\x1b[31m\n形_^"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(plots, "draw", inspect.unwrap(plots.draw))  # not `sketched`
    run = Run(tmp_path / "run")
    (run.path / "evaluations" / "abc").mkdir(parents=True)
    parts: dict[str, Any] = {key: {} for key in ("strategy", "model", "optimizer", "training", "dataset")}
    write_config(run.path / "config.yaml", {**parts, "seed": 0, "names": dict.fromkeys(NAMES, HOSTILE)})
    run.mark("finished", steps=100, best_step=50, seconds=1.0)
    for row in history():
        append_jsonl(run.path / "history.jsonl", {HOSTILE if n == "loss" else n: v for n, v in row.items()})
    names = dict.fromkeys(NAMES, HOSTILE)
    write_json(run.path / "evaluations" / "abc" / "summary.json", to_json(summary(names=Names(**names))))
    return run


def test_draw_takes_names_for_text_and_gives_the_same_bytes(run: Run) -> None:
    matplotlib.rcParams["text.usetex"] = True  # as a matplotlibrc may ask
    try:
        drawn = []
        for _ in range(2):
            plots.draw(run)
            plots.draw(run, "abc")
            files = [run.path / "plots" / name for name in plots.files("abc")]
            drawn.append([file.read_bytes() for file in files])
    finally:
        matplotlib.rcParams["text.usetex"] = False
    assert drawn[0] == drawn[1]
    assert all(data.startswith(b"\x89PNG") and 5_000 < len(data) < 300_000 for data in drawn[0])
    assert sorted(p.name for p in (run.path / "plots").iterdir()) == sorted(plots.files("abc"))


def test_names_in_figures_are_text_without_control_characters() -> None:
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.learning_curve(summary(names=Names(**dict.fromkeys(NAMES, HOSTILE))))
        shown = [t for t in figure.findobj(Text) if "frac" in t.get_text()]  # type: ignore[attr-defined]
    assert len(shown) >= 3  # the title and both legends
    for text in shown:
        assert "$\\frac{$ [red]<b>\\x1b[31m\\n形_^"[:28] in text.get_text()
        assert not text.get_parse_math()


def test_names_that_are_long_are_cut() -> None:
    figure = plots.training(history(), 0, {**NAMES, "strategy": "x" * 500})
    assert figure is not None
    assert max(map(len, texts(figure))) <= 90


def test_draw_that_fails_warns_and_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.path / "plots").write_text("a file where the folder should be")
    with pytest.warns(RuntimeWarning, match=r"run: all is there but its plots \("):
        plots.draw(run)
    with pytest.warns(RuntimeWarning, match="not a run directory"):
        plots.draw(run, "missing")


def test_draw_leaves_matplotlib_as_it_was(run: Run) -> None:
    code = (
        "import sys, matplotlib\nbefore = matplotlib.rcParams.copy()\n"
        "from pathlib import Path\nfrom coldstart_cli.reports import plots\n"
        "from coldstart_cli.runs.run import Run\n"
        "run = Run(Path(sys.argv[1]))\nplots.draw(run)\nplots.draw(run, 'abc')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams.copy() == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(run.path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
