"""The HTML report in a real browser: drawn, quiet, offline, and usable without a mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.comparison.verdict import starred
from coldstart_cli.reports.html import evaluated, held_out
from coldstart_cli.reports.html.report import write_html
from tests.kit import choices, evaluations
from tests.kit.browser import Browser, Page, find
from tests.kit.comparisons import HOSTILE, comparison, typed, typed_setting

CASES: dict[str, dict[str, Any]] = {
    "usual": {"n": 5},
    "gaps": {"n": 6, "gaps": True},
    "forty contestants": {"n": 40, "ks": (0, 1, 2, 5, 10, 20), "gaps": True},
    "regression": {"n": 4, "regression": True},
    "regression with gaps": {"n": 7, "regression": True, "gaps": True},
    "one contestant": {"n": 1},
    "one k": {"n": 12, "ks": (5,), "points": 0},
    "one step": {"n": 3, "steps": (0,)},
    "several settings": {"n": 3, "settings": 3},
    "hostile names": {"n": len(HOSTILE), "names": HOSTILE},
    "nothing": {"n": 0, "settings": 0},
}
MARK = "document.activeElement.getAttribute('aria-label')"
TIP = "document.getElementById('tip')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("no chromium on the path: install Debian's package chromium")
    try:
        browser = Browser(program, tmp_path_factory.mktemp("profile"))
        browser.call("Browser.getVersion")
    except (AssertionError, OSError) as error:  # a stub that only tells how to install it
        pytest.skip(f"{program} does not start: {error}")
    yield browser
    browser.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Writes a report and opens it in a window of its own. No page may complain, or ask for anything else."""
    pages: list[Page] = []

    def call(made: dict[str, Any], **window: Any) -> Page:
        path = tmp_path / f"report {len(pages)}.html"
        write_html(typed(made), path)
        page = browser.page(**window).open(path)
        pages.append(page)
        assert page.requests == [path.resolve().as_uri()]
        return page

    yield call
    for page in pages:
        assert page.errors == []
        page.close()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
@pytest.mark.parametrize(
    "made",
    [
        choices.report(["ridge", "names", "none"]),
        choices.report(list(HOSTILE), with_more=False),
        choices.report(["ridge", "none"], percent=False),
    ],
    ids=["usual", "hostile names", "regression"],
)
def test_report_of_held_out_labels_is_drawn(
    browser: Browser, tmp_path: Path, made: held_out.HeldOutReport, width: int, dark: bool
) -> None:
    path = tmp_path / "choice.html"
    path.write_text(held_out.render(made))
    page = browser.page(width=width, dark=dark).open(path)
    try:
        assert page.requests == [path.resolve().as_uri()]
        marks = "document.querySelectorAll('[data-chart=\"{}\"] .mark').length"
        assert page(marks.format("leaderboard")) == len(made.lines) - 1
        assert page(marks.format("more")) == (3 if made.more else 0)
        assert page("document.documentElement.scrollWidth") <= width
        page("document.querySelector('[data-chart=leaderboard] .mark[tabindex=\"0\"]').focus()")
        unit = " %" if made.percent else ""
        assert page(MARK).startswith(f"{made.lines[0].name}, {made.metric} ")
        assert f"[{'60.0, 90.0' if made.percent else '0.600, 0.900'}]{unit}" in page(MARK)
    finally:
        assert page.errors == []
        page.close()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
@pytest.mark.parametrize(
    "names",
    [["a", "b", "c", "d", "e"], [f"a_class_with_a_name_{i}" for i in range(77)], HOSTILE],
    ids=["five", "77", "hostile"],
)
def test_an_evaluation_is_drawn(
    browser: Browser, tmp_path: Path, names: list[str], width: int, dark: bool
) -> None:
    path = tmp_path / "evaluation.html"
    path.write_text(evaluated.render(evaluations.report(names)))
    page = browser.page(width=width, dark=dark).open(path)
    try:
        assert page.requests == [path.resolve().as_uri()]
        marks = "document.querySelectorAll('[data-chart=\"{}\"] .mark').length"
        drawn = [page(marks.format(kind)) for kind in ("confusion", "reliability", "risk")]
        assert drawn == [2 * len(names), 3, 3]
        assert page("document.documentElement.scrollWidth") <= width
        page("document.querySelector('[data-chart=confusion] .mark').focus()")
        page.press("ArrowRight")
        assert page(MARK).endswith("rows 1, of the label 33.3 %")
        of = "document.querySelector('[data-chart=confusion] .name').getBoundingClientRect()"
        assert page(f"{of}.left") >= 0
    finally:
        assert page.errors == []
        page.close()


@pytest.mark.parametrize("width", [1200, 390])
def test_classes_are_sorted_by_a_reader(browser: Browser, tmp_path: Path, width: int) -> None:
    path = tmp_path / "evaluation.html"
    path.write_text(evaluated.render(evaluations.report(["b", "a", "d", "c"])))
    page = browser.page(width=width).open(path)
    first = "[...document.querySelectorAll('[data-sort]')][0]"
    order = f"[...{first}.querySelectorAll('tbody th')].map(cell => cell.textContent).join('')"
    assert page(order) == "badc"
    if width > 600:
        page(f"{first}.querySelectorAll('thead button')[2].click()")
        assert page(order) == "adcb"  # a number that is not known comes last, whichever way
        page(f"{first}.querySelectorAll('thead button')[2].click()")
        assert page(order) == "cdab"
        assert page(f"{first}.querySelectorAll('thead th')[2].getAttribute('aria-sort')") == "descending"
    assert page(f"getComputedStyle({first}.querySelector('.sort')).display") == (
        "none" if width > 600 else "block"
    )
    choose = "(s => { s.value = 0; s.dispatchEvent(new Event('change')); })"
    page(f"{choose}({first}.querySelector('select'))")
    assert page(order) == "abcd" and page.errors == []
    page.close()


@pytest.mark.parametrize("case", CASES)
def test_report_draws_every_chart(case: str, show: Callable[..., Page]) -> None:
    made = comparison(**CASES[case])
    page = show(made)
    kinds = page("[...document.querySelectorAll('[data-chart]')].map(plot => plot.dataset.chart)")
    expected = [
        kind
        for setting in made["settings"]
        for kind, wanted in (
            ("shots", True), ("curves", True), ("costs", True), ("pairs", len(setting["contestants"]) > 1),
            ("similarity", bool(setting["similarity"])),
        )
        if wanted
    ]  # fmt: skip
    assert kinds == expected
    assert page("document.body.dataset.drawn") == str(len(kinds))
    marks = page(
        "[...document.querySelectorAll('[data-chart]')].map(p => p.querySelectorAll('.mark').length)"
    )
    assert all(marks)


def test_marks_are_as_many_as_values(show: Callable[..., Page]) -> None:
    page = show(comparison(5, ks=(1, 5, 20), steps=(0, 1, 5, 10)))
    count = "document.querySelectorAll('[data-chart=\"{}\"] .mark').length"
    assert page(count.format("shots")) == 5 * 3
    assert page(count.format("curves")) == 4 * 4 + 1  # one contestant has no steps
    assert page(count.format("pairs")) == 5 * 4
    assert page(count.format("similarity")) == 40


def test_winners_are_marked_at_each_k(show: Callable[..., Page]) -> None:
    made = comparison(5)
    page = show(made)
    marked = page("[...document.querySelectorAll('.winners')].map(g => g.querySelectorAll('.dot').length)")
    setting = typed_setting(made["settings"][0])
    assert marked == [len(starred(setting, at)) for at in setting.shots.values()]


def test_a_contestant_of_one_k_keeps_its_interval(show: Callable[..., Page]) -> None:
    made = comparison(3, ks=(1, 5, 20))
    name = made["settings"][0]["contestants"][2]["name"]
    for k in ("1", "20"):
        of = made["settings"][0]["shots"][k]
        of["results"].pop(name)
        of["winners"] = [one for one in of["winners"] if one != name] or list(of["results"])[:1]
        of["pairs"] = [pair for pair in of["pairs"] if name not in (pair["a"], pair["b"])]
    page = show(made)
    drawn = "document.querySelectorAll('[data-chart=shots] .series[data-c=\"2\"] {}').length"
    assert (page(drawn.format(".whisker")), page(drawn.format(".band"))) == (1, 0)
    height = "document.querySelector('[data-chart=shots] .series[data-c=\"2\"] .whisker').getBBox().height"
    assert page(height) > 4


@pytest.mark.parametrize("n", [4, 40])
def test_rows_and_columns_of_pairs_are_named(n: int, show: Callable[..., Page]) -> None:
    made = comparison(n)
    page = show(made)
    texts = "[...document.querySelectorAll('[data-chart=pairs] {}')].map(text => text.textContent)"
    rows, columns = page(texts.format(".name:not(.column)")), page(texts.format(".name.column"))
    assert len(rows) == len(columns) == n
    assert all(row[:8] == column[:8] for row, column in zip(rows, columns, strict=True))
    of = typed_setting(made["settings"][0])
    first = next(iter(of.shots.values()))
    assert page("document.querySelectorAll('[data-chart=pairs] .strong').length") == 2 * len(
        starred(of, first)
    )


def test_an_undecided_pair_shows_its_direction(show: Callable[..., Page]) -> None:
    made = comparison(3, ks=(5,))
    for pair in made["settings"][0]["shots"]["5"]["pairs"]:
        pair["verdict"] = "undecided"
    page = show(made)
    cells = page(
        "[...document.querySelectorAll('[data-chart=pairs] .verdict')].map(text => text.textContent)"
    )
    signs = sorted(cell[:3] for cell in cells)
    assert signs == ["? +"] * 3 + ["? −"] * 3


def test_a_grey_line_far_from_the_coloured_ones_is_named_in_place_of_drawn(show: Callable[..., Page]) -> None:
    made = comparison(40)
    name = made["settings"][0]["contestants"][-1]["name"]
    for at in made["settings"][0]["shots"].values():
        at["results"][name]["mean"] = 0.001
    page = show(made)
    plot = "document.querySelector('[data-chart=shots]').textContent"
    assert f"Not drawn, because far from the coloured ones: {name}." in page(plot)


def test_chance_is_a_line_in_every_chart_of_the_metric_or_said_where_it_lies_outside(
    show: Callable[..., Page],
) -> None:
    made = comparison(5)
    found = made["settings"][0]
    means = [standing["mean"] for at in found["shots"].values() for standing in at["results"].values()]
    lines = "[...document.querySelectorAll('[data-chart={}] .chance text')].map(text => text.textContent)"
    inside = round(2 / (min(means) + max(means)))  # ways whose share lies among the means
    for n_way, drawn in ((inside, True), (1000, False)):
        found["n_way"] = n_way
        page = show(made)
        for chart in ("shots", "costs"):
            assert page(lines.format(chart)) == ([f"chance {100 / n_way:.3g} %"] if drawn else [])
            said = page(f"document.querySelector('[data-chart={chart}]').textContent")
            assert ("lies below what is drawn" in said) is not drawn
    assert page(lines.format("pairs")) == []


def test_a_phone_shows_every_cell_of_a_table(show: Callable[..., Page]) -> None:
    page = show(comparison(5, ks=(1, 2, 5, 10, 20)), width=390, height=800)
    page("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    outside = page(
        "[...document.querySelectorAll('td[data-head]')].filter(cell => "
        "{ const box = cell.getBoundingClientRect(); return box.left < 0 || box.right > 390; }).length"
    )
    assert outside == 0 and page("document.querySelectorAll('td[data-head]').length") > 100
    before = "getComputedStyle(document.querySelector('td[data-head]'), '::before').content"
    assert page(before) == '"k = 1"'


def test_two_hundred_runs_are_drawn(show: Callable[..., Page]) -> None:
    made = comparison(20, ks=(1, 2, 5, 10, 20), seeds=10, n_tasks=600, points=300)
    assert len(made["runs"]) == 200
    assert show(made)("document.body.dataset.drawn") == "5"


@pytest.mark.parametrize("case", ["usual", "forty contestants", "hostile names", "one k"])
def test_page_does_not_scroll_sideways_on_a_phone(case: str, show: Callable[..., Page]) -> None:
    made = comparison(**CASES[case])
    made["sentences"].append("k" * 300)
    made["notes"].append("outputs/" + "x" * 300)
    page = show(made, width=360, height=740)
    page("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert page("document.documentElement.scrollWidth") == 360


def test_marks_are_reached_and_left_by_keyboard(show: Callable[..., Page]) -> None:
    page = show(comparison(4, ks=(1, 5, 20)))
    page('document.querySelector(\'[data-chart="shots"] .mark[tabindex="0"]\').focus()')
    first = page(MARK)
    assert not page(f"{TIP}.hidden")
    assert page(f"{TIP}.querySelector('strong').textContent") == first.partition(",")[0]
    page.press("Home", "ArrowRight", "ArrowRight")
    assert "k = 20" in page(MARK)
    assert page(MARK).partition(",")[0] == first.partition(",")[0]
    page.press("ArrowLeft")
    assert "k = 5" in page(MARK)
    page.press(*["ArrowUp"] * 4)
    before = page(MARK).partition(",")[0]
    page.press("ArrowDown")
    assert "k = 5" in page(MARK)
    assert page('document.querySelectorAll(\'[data-chart="shots"] .mark[tabindex="0"]\').length') == 1
    assert page(MARK).partition(",")[0] != before
    page.press("Escape")
    assert page(f"{TIP}.hidden")
    page.press("Tab")
    assert page("document.activeElement.closest('[data-chart=\"shots\"]')") is None


def test_pointer_shows_the_nearest_value(show: Callable[..., Page]) -> None:
    made = comparison(4, ks=(1, 5, 20))
    page = show(made)
    mark = 'document.querySelector(\'[data-chart="shots"] [data-c="0"] .mark\')'
    page(f"{mark}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    page("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    x, y = page(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({mark}.getBoundingClientRect())")
    page.hover(x + 3, y - 2)
    setting = made["settings"][0]
    name = setting["contestants"][0]["name"]
    row = setting["shots"]["1"]["results"][name]
    shown = page(f"{TIP}.innerText")
    assert name in shown
    assert f"{100 * row['mean']:.1f} ± {100 * row['half_width']:.1f} %" in shown
    page.hover(2, 2)
    assert page(f"{TIP}.hidden")


def test_legend_takes_colour_away_in_all_charts(show: Callable[..., Page]) -> None:
    page = show(comparison(4))
    grey = (
        "[...document.querySelectorAll('[data-chart]')].map(p => p.querySelectorAll('.series.grey').length)"
    )
    assert page(grey) == [0, 0, 0, 0, 0]
    page("document.querySelector('.legend button').focus()")
    page.press(" ")
    assert page("document.activeElement.getAttribute('aria-pressed')") == "false"
    assert page(grey) == [1, 1, 1, 0, 0]
    pressed = "[...document.querySelectorAll('.legend button[aria-pressed=\"false\"]')].length"
    assert page(pressed) == 3
    page("document.querySelector('.switch input').click()")
    assert page(grey) == [0, 0, 0, 0, 0]
    page.press("Enter")
    assert page(pressed) == 0


def test_eight_of_many_are_in_colour(show: Callable[..., Page]) -> None:
    page = show(comparison(40))
    series = "[...document.querySelectorAll('[data-chart=\"shots\"] .series')]"
    assert page(f"{series}.filter(g => !g.classList.contains('grey')).length") == 8
    looks = page(
        "[...document.querySelector('.chart').querySelectorAll('.legend button')]"
        ".map(b => b.querySelector('.key').getAttribute('class') + b.querySelector('.dot').innerHTML)"
    )
    assert len(set(looks)) == len(looks) == 40


def test_k_is_chosen_once_for_all_charts(show: Callable[..., Page]) -> None:
    page = show(comparison(4, ks=(0, 1, 5)))
    told = (
        '[...document.querySelectorAll(\'[data-chart="pairs"] .mark, [data-chart="costs"] .mark\')]'
        ".map(mark => mark.getAttribute('aria-label').match(/k (?:= )?(\\d+)/)[1])"
    )
    assert set(page(told)) == {"1"}  # not 0: nothing has been learned there
    page("document.querySelector('.choice :checked').focus()")
    page.press("ArrowRight")
    assert set(page(told)) == {"5"}
    ks = "[...document.querySelectorAll('.choice')].filter(field => field.firstChild.textContent === 'k')"
    assert page(f"{ks}.map(field => field.querySelector(':checked').value)") == ["2", "2", "2"]


def test_costs_can_be_chosen(show: Callable[..., Page]) -> None:
    page = show(comparison(4))
    axis = "[...document.querySelectorAll('[data-chart=\"costs\"] .title')].at(-1).textContent"
    assert page(axis) == "p95 latency (answer, batch 1)"
    page("[...document.querySelectorAll('.choice label')].find(l => l.textContent === 'parameters').click()")
    assert page(axis) == "parameters (parameters)"


@pytest.mark.parametrize("regression", [False, True])
def test_pareto_front_is_what_nothing_dominates(regression: bool, show: Callable[..., Page]) -> None:
    made = comparison(12, ks=(5,), regression=regression)
    setting = made["settings"][0]
    sign = 1 if setting["higher_is_better"] else -1
    points = {
        contestant["name"]: (
            contestant["costs"]["inference"]["1"]["p95_ms"],
            -sign * setting["shots"]["5"]["results"][contestant["name"]]["mean"],
        )
        for contestant in setting["contestants"]
        if contestant["costs"]
    }
    front = {
        name
        for name, (cost, loss) in points.items()
        if not any(c <= cost and v <= loss and (c, v) != (cost, loss) for c, v in points.values())
    }
    assert 1 < len(front) < len(points)
    labels = page_labels(show(made), "costs")
    assert {label.partition(",")[0] for label in labels if "Pareto front yes" in label} == front


def page_labels(page: Page, chart: str) -> list[str]:
    marks = f"document.querySelectorAll('[data-chart=\"{chart}\"] .mark')"
    labels: list[str] = page(f"[...{marks}].map(mark => mark.getAttribute('aria-label'))")
    return labels


def test_matrix_shows_a_pair_from_both_sides(show: Callable[..., Page]) -> None:
    made = comparison(5, ks=(1,))
    labels = page_labels(show(made), "pairs")
    other = {"win": "loss", "loss": "win"}
    pairs = made["settings"][0]["shots"]["1"]["pairs"]
    assert {pair["verdict"] for pair in pairs} > {"win", "loss"}
    for pair in pairs:
        a, b, verdict, points = pair["a"], pair["b"], pair["verdict"], 100 * pair["difference"]
        for who, whom, says, by in ((a, b, verdict, points), (b, a, other.get(verdict, verdict), -points)):
            start = f"{who} against {whom}, k = 1 {says}, better by {by:+.1f}".replace("by -", "by −")
            assert sum(label.startswith(start) for label in labels) == 1


def test_everything_with_focus_has_a_name(show: Callable[..., Page]) -> None:
    page = show(comparison(12, gaps=True))
    page("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    reached = [
        node
        for node in nodes
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", ()))
        and node["role"]["value"] != "RootWebArea"
    ]
    assert len(reached) > 100
    assert [node for node in reached if not node.get("name", {}).get("value")] == []


def test_tables_do_without_a_script(show: Callable[..., Page]) -> None:
    made = comparison(3)
    page = show(made, script=False)
    document = page.call("DOM.getDocument", depth=-1)["root"]
    html = page.call("DOM.getOuterHTML", nodeId=document["nodeId"])["outerHTML"]
    assert "scripts are off" in html
    assert "<svg" not in html.partition('<script type="application/json"')[0]
    for contestant in made["settings"][0]["contestants"]:
        assert f'<th scope="row">{contestant["name"]}</th>' in html


def test_dark_readers_get_a_dark_page(show: Callable[..., Page]) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = (show(comparison(3), dark=dark)(paper) for dark in (False, True))
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")


def test_paper_gets_light_colours_and_unfolded_tables(show: Callable[..., Page]) -> None:
    page = show(comparison(3), dark=True)
    folded = "document.querySelectorAll('details[data-print]:not([open])').length"
    before = page(folded)
    assert before > 3
    page("dispatchEvent(new Event('beforeprint'))")
    assert page(folded) == 0
    page("dispatchEvent(new Event('afterprint'))")
    assert page(folded) == before
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")


def test_report_of_held_out_labels_is_printed_light_whole_and_unfolded(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "choice.html"
    path.write_text(held_out.render(choices.report(["ridge", "names", "none"])))
    page = browser.page(width=718, dark=True).open(path)  # A4 between margins of a centimetre
    page("dispatchEvent(new Event('beforeprint'))")
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page("document.querySelectorAll('details[data-print]:not([open])').length") == 0
    assert page("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page("document.documentElement.scrollWidth") <= 718
    height = "c => c.querySelector('svg').getBoundingClientRect().height"
    heights = page(f"[...document.querySelectorAll('[data-chart]')].map({height})")
    assert len(heights) == 2 and min(heights) > 50
    assert page.pdf().startswith(b"%PDF") and page.errors == []
    page.close()


def test_names_are_text_in_the_browser(show: Callable[..., Page]) -> None:
    made = comparison(len(HOSTILE), names=HOSTILE)
    made["sentences"] = made["notes"] = list(HOSTILE)
    page = show(made)
    assert page("document.querySelectorAll('img, iframe, object, body b').length") == 0
    assert page("document.scripts.length") == 2
    names = page("[...document.querySelectorAll('.legend button span')].map(span => span.textContent)")
    assert set(names[: len(HOSTILE)]) >= {"<script>alert(1)</script>", "[red]x[/red]", "\\x1b[31mred\\x1b[0m"}
    page("document.querySelector('.mark').focus()")
    assert page(f"{TIP}.querySelector('script, img') === null && !{TIP}.hidden")


def test_chart_that_fails_leaves_the_others(browser: Browser, tmp_path: Path) -> None:
    made = typed(comparison(2, ks=(1,)))
    (setting,) = made.settings
    spoiled = replace(setting.similarity[0], points=[None])  # type: ignore[list-item]
    write_html(replace(made, settings=[replace(setting, similarity=[spoiled])]), tmp_path / "report.html")
    page = browser.page().open(tmp_path / "report.html")
    drawn = page(
        "[...document.querySelectorAll('[data-chart]')].map(p => p.querySelectorAll('.mark').length > 0)"
    )
    assert drawn == [True, True, True, True, False]
    assert "could not be drawn" in page("document.querySelector('[data-chart=\"similarity\"]').textContent")
    assert len(page.errors) == 1
    page.close()


def test_policy_refuses_what_the_file_does_not_hold(browser: Browser, tmp_path: Path) -> None:
    write_html(typed(comparison(2)), tmp_path / "report.html")
    page = browser.page().open(tmp_path / "report.html")
    page("window.ran = 0")
    page(
        "document.body.insertAdjacentHTML('beforeend', '<img src=http://127.0.0.1:9/x onerror=\"ran = 1\">')"
    )
    page("document.body.append(Object.assign(document.createElement('script'), {textContent: 'ran = 2'}))")
    page("new Promise(done => setTimeout(done, 200))")
    assert page("ran") == 0
    assert any("Content Security Policy" in error for error in page.errors)
    page.close()
