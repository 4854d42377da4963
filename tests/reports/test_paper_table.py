"""Tables for papers: what is bold, what the caption says, names that LaTeX and Markdown show as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from coldstart_cli.comparison.verdict import star_means
from coldstart_cli.reports import paper_table
from coldstart_cli.reports.paper_table import escaped_latex, escaped_markdown
from tests.kit.comparisons import HOSTILE, comparison, typed


def test_latex_has_a_row_for_each_contestant_and_bold_where_the_verdict_says() -> None:
    made = comparison(4, ks=(1, 5))
    text = paper_table.latex(typed(made))
    setting = made["settings"][0]
    for name in (one["name"] for one in setting["contestants"]):
        (row,) = [
            line
            for line in text.splitlines()
            if line.startswith((f"    {escaped_latex(name)} &", f"    {escaped_latex(name)}$"))
        ]
        cells = row.removesuffix(r" \\").split(" & ")[1:]
        for cell, at in zip(cells, setting["shots"].values(), strict=True):
            mean, half = at["results"][name]["mean"], at["results"][name]["half_width"]
            gain = at["results"][name]["gain"]
            assert rf"{100 * mean:.1f} $\pm$ {100 * half:.1f}" in cell
            best = name in at["winners"] and gain["mean"] > gain["half_width"]
            assert cell.startswith(r"\textbf{") is best
    assert r"\begin{tabular}{lcc}" in text and "& $k = 1$ & $k = 5$" in text
    assert text.count("{") == text.count("}") and r"\label{tab:glyphs-5-way}" in text


def test_the_caption_says_over_what_and_which_test() -> None:
    told = paper_table.markdown(typed(comparison(3, ks=(1, 5), seeds=3, n_tasks=30)))
    for said in (
        "Accuracy (%) on 30 new tasks of glyphs, 5-way, k labels a class",
        "95 % interval",
        "3 training seeds",
        "Holm over all pairs",
        "family-wise error 5 %",
        "zone of equivalence 0.5 points",
    ):
        assert said in told
    of_error = paper_table.markdown(typed(comparison(3, regression=True, seeds=1)))
    assert "MSE, lower is better, on 30 new tasks of sinusoid, k labels." in of_error
    assert "one training seed" in of_error


def test_what_is_missing_or_diverged_is_said_and_baselines_stand_below() -> None:
    text = paper_table.markdown(typed(comparison(9, gaps=True)))
    assert " -- |" in text and "diverged" in text and "†: transductive" in text
    latex = paper_table.latex(typed(comparison(9, gaps=True)))
    below = latex[latex.rindex(r"\midrule") :]
    baselines = [
        one["name"] for one in comparison(9, gaps=True)["settings"][0]["contestants"] if one["baseline"]
    ]
    assert (
        baselines
        and all(f"{name} &" in below for name in baselines)
        and below.count(" &") == 3 * len(baselines)
    )
    assert r"$^\dagger$" in latex


@pytest.mark.parametrize(
    ("name", "latex", "markdown"),
    [
        ("a_b & 50%", r"a\_b \& 50\%", r"a\_b & 50%"),
        (r"$x^2$ \input{f}", r"\$x\textasciicircum{}2\$ \textbackslash{}input\{f\}", r"\$x^2\$ \\input\{f\}"),
        ("a--b,,c'd\"", r"a-{}-b,{},c\textquotesingle{}d\char34{}", "a--b,,c'd\""),
        ("a|b*<i>\x1b", r"a\textbar{}b{*}\textless{}i\textgreater{}\textbackslash{}x1b", r"a\|b\*\<i\>\\x1b"),
    ],
)
def test_names_are_shown_as_they_are(name: str, latex: str, markdown: str) -> None:
    assert (escaped_latex(name), escaped_markdown(name)) == (latex, markdown)


BEYOND_LATIN = re.compile(r"[^\x00-\u017f]")


def test_a_table_compiles_whatever_its_names(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None or not _has_booktabs():
        pytest.skip("pdflatex with booktabs is not installed")
    every = "".join(map(chr, range(32, 127)))
    names = [*HOSTILE, every, "caf\u00e9_50%", "a" * 90]
    made = comparison(len(names), names=[BEYOND_LATIN.sub("?", name) for name in names], ks=(1, 5), gaps=True)
    made["settings"][0]["title"] = made["settings"][0]["dataset"] = f"digits #1 {every}"
    text = paper_table.latex(typed(made))
    assert "beyond Latin" not in text
    head, end = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}", "\\end{document}"
    whole = f"{head}\n{text}\n{end}\n"
    (tmp_path / "table.tex").write_text(whole, encoding="utf-8")
    words = [
        "pdflatex",
        "-draftmode",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "table.tex",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=120)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0 and "Missing character" not in log, log[-2000:]


def _has_booktabs() -> bool:
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, timeout=60).returncode == 0


def test_letters_that_pdflatex_lacks_are_said() -> None:
    text = paper_table.latex(typed(comparison(3, names=["\u6570\u636e"])))
    assert text.splitlines()[1] == "% letters beyond Latin: xelatex or lualatex, with a font that has them"


def test_bold_is_explained_by_the_rows_that_are_there() -> None:
    """Without scratch nothing is said of gains, nor of several marks where a column has one."""
    made = comparison(4, ks=(1, 5))
    for at in made["settings"][0]["shots"].values():
        at["winners"] = at["winners"][:1]
        for row in at["results"].values():
            row["gain"] = {"mean": 0.1, "half_width": 0.02}
    full = typed(made).settings[0]
    assert (
        star_means(full)
        == "no other is shown to be better at that k, and its gain over scratch excludes zero"
    )
    for at in made["settings"][0]["shots"].values():
        at["winners"] = list(at["results"])[:2]
        for row in at["results"].values():
            row["gain"] = None
    without = star_means(typed(made).settings[0])
    assert star_means(typed(comparison(1)).settings[0]) == ""
    assert "scratch" not in without and "several in a column: the data do not tell which is best" in without


def test_settings_have_tables_of_their_own_with_different_labels() -> None:
    text = paper_table.latex(typed(comparison(2, settings=2)))
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == 2 == len(set(labels)) and text.count(r"\end{table}") == 2
