"""Curves of a run as pictures in its folder plots/: of its training, and of each evaluation.

PNG, because every viewer, chat and notebook takes it; `coldstart compare --figure` draws vectors. Colours are
Okabe and Ito's, which colour-blind people tell apart, and marks and dashes say the same. Names are text:
neither formulas nor escapes in them are obeyed.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from coldstart_cli.files.durable import read_jsonl, write_bytes
from coldstart_cli.metrics.names import VALIDATION
from coldstart_cli.metrics.numbers import percent
from coldstart_cli.metrics.results import Interval, Summary, Unit
from coldstart_cli.package import ROOT
from coldstart_cli.runs.run import Run
from coldstart_cli.safe_text import printable

if TYPE_CHECKING:  # half a second to import, so late
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
Kind = Literal["png", "pdf", "svg"]
_UNDATED: Mapping[Kind, Mapping[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "osD^vPX"
STYLE = {
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,  # outlines that publishers take; matplotlib's own are Type 3
    "svg.hashsalt": "coldstart",  # else its ids differ from call to call
}


def files(evaluation: str) -> tuple[str, str]:
    """What `draw` makes in plots/ of a training and of one of its evaluations."""
    return ("training.png", f"{evaluation}-learning_curve.png")


def draw(run: Run, evaluation: str | None = None) -> None:
    """Draws the training of a run, or one of its evaluations; what fails costs a warning, not the run."""
    try:
        with style():
            if evaluation is None:
                rows, state = read_jsonl(run.path / "history.jsonl"), run.state
                figure = training(rows, state.get("best_step", 0), run.config["names"])
            else:
                figure = learning_curve(run.summary(evaluation))
            path = run.path / "plots" / files(evaluation or "")[evaluation is not None]
            if figure is not None:
                path.parent.mkdir(exist_ok=True)
                write_bytes(path, picture(figure))
    except Exception as error:  # a missing font, a full disk, a broken matplotlib: the run is worth more
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        warnings.warn(f"{run.path}: all is there but its plots ({what})", RuntimeWarning, stacklevel=2)


def training(rows: Sequence[Row], best_step: int, names: Mapping[str, str]) -> Figure | None:
    """Each metric of a training against its steps, in axes of its own; None without a metric.

    Args:
        rows: of history.jsonl: step, and metrics, of which one that was not finite is None.
        best_step: marked; 0 is one only where the untrained state was validated.
    """
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    if not metrics:
        return None
    known = best_step > 0 or any(row["step"] == 0 for row in rows)
    figure = Figure(figsize=(7, 1 + 1.8 * len(metrics)), layout="constrained")
    figure.suptitle(_title(names), fontsize=10)
    for axes, name in zip(
        figure.subplots(len(metrics), sharex=True, squeeze=False)[:, 0], metrics, strict=True
    ):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        steps, values = [step for step, _ in points], [value for _, value in points]
        if name.startswith(VALIDATION):
            axes.plot(steps, values, color=COLOURS[1], marker=MARKS[0], markersize=4)
        else:
            smooth = _running_mean(values)
            axes.plot(steps, values, color=COLOURS[0], linewidth=1, alpha=1 if smooth is None else 0.3)
            if smooth is not None:
                axes.plot(steps, smooth, color=COLOURS[0])
        if known:
            axes.axvline(best_step, color="black", linestyle=":", linewidth=1)
        axes.set_ylabel(shortened(name, 24))
    axes.set_xlabel(f"step (dotted: the best, {best_step:,})" if known else "step")
    return figure


def learning_curve(summary: Summary) -> Figure:
    """The headline on new tasks against adaptation steps, for each k, and against k where there are several.

    Beside it other metrics against k, where there are any. Bands and bars are the summary's intervals; dashes
    are the baseline.
    """
    from matplotlib.figure import Figure

    shots = summary.shots
    scale = _scale(summary.unit)
    others = list(dict.fromkeys(name for shot in shots.values() for name in shot.new.metrics))
    n_panels = 1 + (len(shots) > 1) + bool(others)
    one_scale = {summary.units.get(name, "") for name in others} <= {summary.unit}
    figure = Figure(figsize=(2.5 + 3.5 * n_panels, 4), layout="constrained")
    ways = f"{summary.n_way}-way, " if summary.n_way else ""
    asked = (
        f"{ways}{summary.n_tasks} new tasks{summary.of_origins}, {percent(summary.confidence)} % intervals"
    )
    figure.suptitle(f"{_title(asdict(summary.names))}: {asked}", fontsize=10)
    panels = figure.subplots(1, n_panels, sharey=one_scale, squeeze=False)[0]
    _against_steps(panels[0], summary, scale)
    if len(shots) > 1:
        _against_shots(panels[1], summary, scale)
    if others:
        _other_metrics(panels[-1], summary, others)
    parts = [part for shot in shots.values() for part in (shot.new, shot.baseline) if part]
    _spread(panels[0], [interval.mean for part in parts for interval in part.curve.values()])
    panels[0].set_ylabel(f"{shortened(summary.headline, 40)}{' (%)' if scale == 100 else ''}")
    return figure


def picture(figure: Figure, kind: Kind = "png") -> bytes:
    """The same figure gives the same bytes: neither date nor version is in them."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script that the type face lacks
        figure.savefig(stream, format=kind, metadata=_UNDATED[kind])
    return stream.getvalue()


def _against_steps(axes: Axes, summary: Summary, scale: float) -> None:
    ticks: set[int] = set()
    for i, (k, row) in enumerate(summary.shots.items()):
        colour, mark = COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)]
        for part, dash in ((row.new, "-"), (row.baseline, "--")):
            if part is None:
                continue
            curve = part.curve
            steps, ticks = sorted(curve), ticks | set(curve)
            means, widths = _values([curve[step] for step in steps], scale)
            shot = f"{k}-shot" if summary.n_way else f"{k} point{'' if k == 1 else 's'}"
            label = shot if part is row.new else None
            axes.plot(steps, means, dash, color=colour, marker=mark, markersize=4, label=label)
            low, high = ([m + sign * w for m, w in zip(means, widths, strict=True)] for sign in (-1, 1))
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
            at = means[steps.index(part.step)]
            axes.plot([part.step], at, "o", color=colour, markerfacecolor="none", markersize=9)
    if any(row.baseline for row in summary.shots.values()):
        axes.plot([], [], "--", color="grey", label=f"baseline {shortened(str(summary.names.baseline), 30)}")
    axes.plot([], [], "o", color="grey", markerfacecolor="none", markersize=9, label="chosen by validation")
    # Steps are 0, 1, 5, 10, 100: a logarithm that has room for 0.
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set_xticks(_apart(ticks), minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xticks([], minor=True)
    axes.set_xlabel("adaptation steps")
    axes.legend()


def _against_shots(axes: Axes, summary: Summary, scale: float) -> None:
    names, shots = summary.names, summary.shots
    ours = {k: shot.new.after for k, shot in shots.items()}
    theirs = {k: shot.baseline.after for k, shot in shots.items() if shot.baseline is not None}
    _bars(axes, ours, scale, f"strategy {shortened(names.strategy, 30)}", color=COLOURS[0])
    if theirs:
        words = f"baseline {shortened(str(names.baseline), 30)}"
        _bars(axes, theirs, scale, words, color="grey", linestyle="--")
    _label_shots(axes, summary)


def _other_metrics(axes: Axes, summary: Summary, names: Sequence[str]) -> None:
    for i, name in enumerate(names, start=1):
        after = {k: shot.new.metrics[name] for k, shot in summary.shots.items() if name in shot.new.metrics}
        unit = summary.units.get(name, "")
        words = f"{shortened(name, 30)}, adapted{' (%)' if unit else ''}"
        _bars(axes, after, _scale(unit), words, color=COLOURS[i % len(COLOURS)], marker=MARKS[i % len(MARKS)])
    _label_shots(axes, summary)


def _bars(axes: Axes, intervals: Mapping[int, Interval], scale: float, label: str, **style: Any) -> None:
    means, widths = _values(list(intervals.values()), scale)
    known = [
        0.0 if math.isnan(width) else width for width in widths
    ]  # a mean without an interval is still drawn
    axes.errorbar(
        list(intervals),
        means,
        known,
        **{"marker": MARKS[0], "markersize": 4, "capsize": 3, **style},
        label=label,
    )


def _label_shots(axes: Axes, summary: Summary) -> None:
    axes.set_xticks(list(summary.shots))
    axes.set_xlabel("labels a class (k)" if summary.n_way else "labels a task (k)")
    axes.legend()


def _scale(unit: Unit) -> float:
    return 100 if unit == "%" else 1


def _spread(axes: Axes, values: Sequence[float]) -> None:
    """Errors that differ by more than a hundredfold are shown by their magnitudes."""
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > 100 * min(finite):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _values(intervals: Sequence[Interval], scale: float) -> tuple[list[float], list[float]]:
    """Means and half-widths; nan for what was not finite."""
    pairs = [(of.mean, of.half_width) for of in intervals]
    means, widths = (
        [scale * x if math.isfinite(x) else math.nan for x in part] for part in zip(*pairs, strict=True)
    )
    return means, widths


def _running_mean(values: Sequence[float]) -> list[float] | None:
    """Over a twentieth of the points; None where they are too few to hide one another."""
    import numpy as np

    window = len(values) // 20
    if window < 3:
        return None
    kernel = np.ones(window)
    # Divided by how many points lie under the kernel, so that the ends are not drawn towards 0.
    return list(np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same"))


def _apart(ticks: set[int]) -> list[int]:
    """Steps far enough from one another on the axis for their numbers to stand side by side."""
    kept: list[int] = []
    for tick in sorted(ticks):
        if not kept or kept[-1] < 1 or tick > 1.25 * kept[-1]:
            kept.append(tick)
    return kept


def _title(names: Mapping[str, str]) -> str:
    return shortened(f"{names['strategy']} ({names['model']}) on {names['dataset']}", 90)


def shortened(text: str, length: int) -> str:
    """A name as it is shown, with at most so many letters."""
    text = printable(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Ours alone: a matplotlibrc of the user's may ask for LaTeX."""
    # The first import reads a matplotlibrc of the current folder, which may be a stranger's, or a FIFO.
    with contextlib.chdir(ROOT):
        import matplotlib

    settings: Any = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with matplotlib.rc_context(settings | STYLE):
        yield
