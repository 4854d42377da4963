"""A comparison as a figure for papers: the headline over shots, a panel for each setting.

The best contestants have colours, marks and dashes of their own, and the others are grey; baselines are black
and dashed, chance is dotted. Where there is one k, contestants are rows, the best at the top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coldstart_cli.comparison.findings import Comparison, ContestantFacts, Setting
from coldstart_cli.errors import RequestError
from coldstart_cli.metrics.numbers import is_known, percent
from coldstart_cli.reports.html.chart_data import best_first
from coldstart_cli.reports.plots import COLOURS, MARKS, Kind, picture, shortened, style

if TYPE_CHECKING:  # half a second to import, so late
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

KINDS: Mapping[str, Kind] = {".pdf": "pdf", ".svg": "svg", ".png": "png"}
COLOURED = 6
"""Contestants that a reader tells apart: one for each colour but black, which is the baselines'."""
BASELINES = 2
"""The best of those that are drawn in black; more lie on one another."""
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))
BARS: dict[str, Any] = {"markersize": 4, "capsize": 2, "elinewidth": 0.8}
BLACK, GREY = "#000000", "#b0b0b0"
WIDTH, HEIGHT, ROW = 7.0, 3.4, 0.2
"""Inches: of a page, of a panel, and of a contestant in a panel of rows."""


def check_kind(name: str, key: str) -> Kind:
    """The kind of picture that a file's name asks for.

    Raises:
        RequestError: where there is no such kind.
    """
    for suffix, kind in KINDS.items():
        if name.lower().endswith(suffix):
            return kind
    raise RequestError(
        f"{key}: {name} is of no kind that is drawn; name it {', '.join(f'*{s}' for s in KINDS)}"
    )


def drawn(comparison: Comparison, kind: Kind) -> bytes:
    """The figure; the same comparison gives the same bytes.

    Raises:
        RequestError: where there is nothing to draw.
    """
    settings = [setting for setting in comparison.settings if setting.shots]
    if not settings:
        raise RequestError("--figure: no two contestants share tasks, so nothing can be drawn; leave it out")
    with style():
        return picture(figure(settings, comparison.confidence), kind)


def figure(settings: Sequence[Setting], confidence: float) -> Figure:
    """A panel for each setting, one below the other."""
    from matplotlib.figure import Figure

    heights = [_height(setting) for setting in settings]
    made = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    grid = made.subplots(len(settings), squeeze=False, height_ratios=heights)[:, 0]
    for axes, setting in zip(grid, settings, strict=True):
        (_rows if len(setting.shots) == 1 else _curves)(axes, setting)
        tasks = " to ".join(
            dict.fromkeys(f"{n:,}" for n in _ends([at.n_tasks for at in setting.shots.values()]))
        )
        asked = f"{tasks} new tasks, {percent(confidence)} % intervals"
        axes.set_title(f"{shortened(setting.title, 60)}: {asked}", fontsize=9, loc="left")
    return made


def _height(setting: Setting) -> float:
    return max(HEIGHT / 2, 0.8 + ROW * len(setting.contestants)) if len(setting.shots) == 1 else HEIGHT


def _ends(numbers: Sequence[int]) -> tuple[int, int]:
    return min(numbers), max(numbers)


def _curves(axes: Axes, setting: Setting) -> None:
    """The headline over k, with error bars a little apart from one another."""
    ks = list(setting.shots)
    known = [setting.contestants[i] for i in best_first(setting)]
    own, baselines = ([one for one in known if one.baseline is kind] for kind in (False, True))
    shown = [*own[:COLOURED], *baselines[:BASELINES]]
    rest = [*own[COLOURED:], *baselines[BASELINES:]]
    by_magnitude = ks[-1] > 8 * max(ks[0], 1)  # shots such as 0, 1, 5, 50
    handles: list[Any] = []
    for i, one in enumerate(shown):
        places, means, widths = _points(setting, one)
        shift = i - (len(shown) - 1) / 2
        step = [0.015 * max(k, 1) if by_magnitude else 0.008 * (ks[-1] - ks[0]) for k in places]
        apart = [k + shift * by for k, by in zip(places, step, strict=True)]
        look = _look(i, len(own[:COLOURED]))
        handles.append(axes.errorbar(apart, means, widths, label=_name(one), zorder=2, **BARS, **look))
    for one in rest:
        (line,) = axes.plot(*_points(setting, one)[:2], color=GREY, linewidth=0.7, zorder=1)
    if rest:
        line.set_label(f"{len(rest)} other{'' if len(rest) == 1 else 's'}")
        handles.append(line)
    handles += _chance(axes, setting)
    if by_magnitude:
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(ks[0] - 0.25, ks[-1] * 1.2)
    axes.set_xticks(ks, minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("labels a class (k)" if setting.n_way else "labels (k)")
    axes.set_ylabel(_metric(setting))
    if setting.percent:  # intervals of few seeds reach beyond what a share can be
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -2), min(high, 102))
    elif not setting.higher_is_better:  # no error is below 0
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0))
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, borderaxespad=0)


def _look(place: int, n_coloured: int) -> dict[str, Any]:
    """Of a contestant by its place; those after the coloured ones are baselines."""
    if place >= n_coloured:
        return {"color": BLACK, "marker": "x+"[place - n_coloured], "linestyle": "--", "linewidth": 1.0}
    return {"color": COLOURS[place], "marker": MARKS[place], "linestyle": DASHES[place % len(DASHES)]}


def _name(one: ContestantFacts) -> str:
    said = one.baseline and "baseline" not in one.name
    return shortened(one.name, 36) + (" (baseline)" if said else "")


def _points(setting: Setting, one: ContestantFacts) -> tuple[list[int], list[float], list[float]]:
    """k, mean and half-width wherever it has a mean."""
    scale = 100 if setting.percent else 1
    places, means, widths = [], [], []
    for k, at in setting.shots.items():
        found = at.results.get(one.name)
        if found is not None and is_known(found.mean):
            places.append(k)
            means.append(scale * found.mean)
            widths.append(scale * found.half_width if is_known(found.half_width) else 0.0)
    return places, means, widths


def _rows(axes: Axes, setting: Setting) -> None:
    """A row for each contestant at the only k, the best at the top."""
    ((k, at),) = setting.shots.items()
    scale = 100 if setting.percent else 1
    known = [(name, found) for name, found in at.results.items() if is_known(found.mean)]
    for row, (name, found) in enumerate(reversed(known)):
        mean, width = found.mean or 0.0, found.half_width if is_known(found.half_width) else 0.0
        colour = BLACK if setting.contestant(name).baseline else COLOURS[0]
        axes.errorbar(
            scale * mean, row, xerr=scale * width, color=colour, marker=MARKS[0], **BARS,
            markerfacecolor="none" if setting.contestant(name).baseline else colour,
        )  # fmt: skip
    names = [_name(setting.contestant(name)) for name, _ in reversed(known)]
    axes.set_yticks(range(len(known)), names, fontsize=8)
    axes.set_ylim(-0.7, len(known) - 0.3)
    if not setting.higher_is_better:  # no error is below 0
        axes.set_xlim(left=max(axes.get_xlim()[0], 0))
    if chance := _chance(axes, setting, upright=True):
        axes.legend(handles=chance, loc="lower right", fontsize=8)
    axes.set_xlabel(f"{_metric(setting)} at k = {k}")


def _chance(axes: Axes, setting: Setting, *, upright: bool = False) -> list[Line2D]:
    if setting.chance is None:
        return []
    percent = 100 * setting.chance
    drawn = axes.axvline if upright else axes.axhline
    return [drawn(percent, color=BLACK, linestyle=":", linewidth=1, label=f"chance ({percent:.3g} %)")]


def _metric(setting: Setting) -> str:
    return f"{shortened(setting.headline, 40)}{' (%)' if setting.percent else ''}"
