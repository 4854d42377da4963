"""Figures for papers: the numbers in them, names that stay text, five contestants and forty."""

from __future__ import annotations

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from coldstart_cli.errors import RequestError
from coldstart_cli.reports import paper_figure
from coldstart_cli.reports.plots import style
from tests.kit.comparisons import comparison, typed


def figure(**asked: object) -> Figure:
    made = typed(comparison(**asked))  # type: ignore[arg-type]
    with style():
        return paper_figure.figure(made.settings, made.confidence)


def bars(found: Figure, panel: int = 0) -> dict[str, ErrorbarContainer]:
    containers = found.axes[panel].containers
    return {str(one.get_label()): one for one in containers if isinstance(one, ErrorbarContainer)}


def test_a_curve_has_the_means_and_the_intervals_of_its_contestant() -> None:
    made = comparison(3, ks=(1, 5, 20))
    drawn = bars(figure(n=3, ks=(1, 5, 20)))
    for name, one in drawn.items():
        line, _, (stems,) = one.lines
        for i, at in enumerate(made["settings"][0]["shots"].values()):
            wanted = at["results"][name]
            assert line.get_ydata()[i] == pytest.approx(100 * wanted["mean"])
            low, high = stems.get_segments()[i][:, 1]
            assert (high - low) / 2 == pytest.approx(100 * wanted["half_width"])
    assert len(drawn) == 3


def test_of_forty_the_best_have_colours_and_the_others_are_grey_and_counted() -> None:
    found = figure(n=40)
    drawn = bars(found)
    assert len(drawn) == paper_figure.COLOURED + paper_figure.BASELINES
    looks = {(one.lines[0].get_color(), one.lines[0].get_marker()) for one in drawn.values()}
    assert len(looks) == len(drawn)
    legend = [text.get_text() for text in found.axes[0].get_legend().get_texts()]
    assert f"{40 - len(drawn)} others" in legend and "chance (20 %)" in legend
    grey = [line for line in found.axes[0].get_lines() if line.get_color() == paper_figure.GREY]
    assert len(grey) == 40 - len(drawn)


def test_with_one_k_contestants_are_rows_with_the_best_at_the_top() -> None:
    made = comparison(9, ks=(5,))
    found = figure(n=9, ks=(5,))
    names = [text.get_text().removesuffix(" (baseline)") for text in found.axes[0].get_yticklabels()]
    assert names[::-1] == list(made["settings"][0]["shots"]["5"]["results"])
    assert found.axes[0].get_xlabel() == "accuracy (%) at k = 5"


def test_settings_are_panels_and_errors_have_neither_percent_nor_chance() -> None:
    found = figure(n=3, regression=True, settings=2)
    assert [axes.get_ylabel() for axes in found.axes] == ["mse", "mse"]
    assert "chance" not in " ".join(text.get_text() for text in found.axes[0].get_legend().get_texts())


@pytest.mark.parametrize("ks", [(5,), (1, 5)])
def test_an_axis_of_errors_begins_at_0_though_intervals_reach_below(ks: tuple[int, ...]) -> None:
    made = comparison(3, regression=True, ks=ks)
    for at in made["settings"][0]["shots"].values():
        for row in at["results"].values():
            row["half_width"] = 2 * row["mean"] + 1
    with style():
        axes = paper_figure.figure(typed(made).settings, 0.95).axes[0]
    low, high = axes.get_xlim() if len(ks) == 1 else axes.get_ylim()
    assert low == 0 < high


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_comparison_gives_the_same_bytes_whatever_its_names(kind: paper_figure.Kind) -> None:
    made = typed(comparison(3, names=["$x^{2$", "名前\x1b", r"\frac{1}{0}"], gaps=True))
    first = paper_figure.drawn(made, kind)
    assert first == paper_figure.drawn(made, kind)
    assert first.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[kind])
    with style():
        texts = [text.get_text() for text in paper_figure.figure(made.settings, 0.95).findobj(Text)]  # type: ignore[attr-defined]
    assert any("$x^{2$" in text for text in texts) and not any("\x1b" in text for text in texts)


def test_a_file_of_another_kind_and_nothing_to_draw_are_refused() -> None:
    assert paper_figure.check_kind("a/B.PDF", "--figure") == "pdf"
    with pytest.raises(RequestError, match=r"^--figure: x.jpg is of no kind that is drawn; name it \*.pdf, "):
        paper_figure.check_kind("x.jpg", "--figure")
    with pytest.raises(RequestError, match="nothing can be drawn"):
        paper_figure.drawn(typed(comparison(2, settings=0)), "png")
