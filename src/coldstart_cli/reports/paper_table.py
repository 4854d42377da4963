"""A comparison as tables for papers: LaTeX (booktabs) and Markdown.

Rows are contestants, columns numbers of shots; what the verdict calls best, or cannot tell from it, is bold.
The caption says what a reader must know to judge that. Names are a user's own: what LaTeX or Markdown would
obey in them is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from coldstart_cli.comparison.findings import Comparison, ContestantFacts, Setting
from coldstart_cli.comparison.verdict import star_means, starred
from coldstart_cli.metrics.numbers import UNKNOWN, percent
from coldstart_cli.reports.comparison_table import numbers_of
from coldstart_cli.safe_text import printable

Writer = Callable[[str], str]
Rows = list[list[str]]
LAST_LATIN = 0x17F
"""The last letter of Unicode's Latin Extended-A, which pdflatex has without further packages."""

_OF_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\char34{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "[": "{[}", "*": "{*}",  # which the end of the row above would take for its own
    "±": r"$\pm$", "−": r"$-$", "…": r"\ldots{}",
}  # fmt: skip


def latex(comparison: Comparison) -> str:
    """A table environment for each setting; needs the package booktabs."""
    tables = (_latex(setting, comparison.confidence, i) for i, setting in enumerate(_shown(comparison)))
    text = "\n".join(tables)
    beyond = "% letters beyond Latin: xelatex or lualatex, with a font that has them\n"
    needs_font = any(ord(letter) > LAST_LATIN for letter in text)
    return "% \\usepackage{booktabs}\n" + (beyond if needs_font else "") + text


def markdown(comparison: Comparison) -> str:
    """A table with its caption for each setting."""
    return "\n".join(_markdown(setting, comparison.confidence) for setting in _shown(comparison))


def _shown(comparison: Comparison) -> list[Setting]:
    return [setting for setting in comparison.settings if setting.shots]


def _latex(setting: Setting, confidence: float, index: int) -> str:
    columns = "l" + "c" * len(setting.shots)
    rows = _rows(setting, escaped_latex, r"\textbf{{{}}}".format, r"$^\dagger$")
    head = " & ".join(["", *(f"$k = {k}$" for k in setting.shots)])
    own, baselines = ([f"{' & '.join(cells)} \\\\" for cells in part] for part in rows)
    body = [*own, *([r"\midrule", *baselines] if own and baselines else baselines)]
    slug = re.sub(r"[^a-z0-9]+", "-", setting.title.lower()).strip("-") or "results"
    label = f"tab:{slug}" + (f"-{index + 1}" if index else "")
    told = escaped_latex(caption(setting, confidence)) + _dagger(setting, r"$^\dagger$")
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{told}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
        *(f"    {row}" for row in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def _markdown(setting: Setting, confidence: float) -> str:
    own, baselines = _rows(setting, escaped_markdown, "**{}**".format, "†")
    lines = [["", *(f"k = {k}" for k in setting.shots)], ["---", *(["---:"] * len(setting.shots))]]
    table = [f"| {' | '.join(cells)} |" for cells in [*lines, *own, *baselines]]
    told = escaped_markdown(caption(setting, confidence)) + _dagger(setting, "†")
    return "\n".join([*table, "", told, ""])


def _rows(setting: Setting, written: Writer, bold: Writer, mark: str) -> tuple[Rows, Rows]:
    """The cells of contestants, and those of the baselines beside them."""
    numbers, best = numbers_of(setting), {k: starred(setting, at) for k, at in setting.shots.items()}

    def cells(contestant: ContestantFacts) -> list[str]:
        name = written(contestant.name) + (mark if contestant.transductive else "")
        found = [name]
        for k, at in setting.shots.items():
            text = numbers.interval(at.results.get(contestant.name))
            shown = "--" if text == UNKNOWN else written(text)
            found.append(bold(shown) if contestant.name in best[k] else shown)
        return found

    split = [[c for c in setting.contestants if c.baseline is kind] for kind in (False, True)]
    own, baselines = ([cells(contestant) for contestant in part] for part in split)
    return own, baselines


def caption(setting: Setting, confidence: float) -> str:
    """What is shown, over what, and what bold means, in sentences."""
    metric = setting.headline if len(setting.headline) > 4 else setting.headline.upper()
    what = f"{metric[:1].upper()}{metric[1:]}{' (%)' if setting.percent else ''}"
    better = "" if setting.higher_is_better else ", lower is better,"
    labels = "k labels a class" if setting.n_way else "k labels"
    return printable(
        f"{what}{better} on {_tasks(setting)} new tasks of {setting.title}, {labels}. "
        f"Mean and half-width of the {percent(confidence)} % interval over tasks{_of_origins(setting)} "
        f"and {_seeds(setting)}, crossed.{_of_bold(setting, confidence)}"
    )


def _of_bold(setting: Setting, confidence: float) -> str:
    if not (means := star_means(setting)):
        return ""
    zone = numbers_of(setting).zone(*(at.zone for at in setting.shots.values()))
    return (
        f" Bold: {means} (paired tests, Holm over all pairs at one k, "
        f"family-wise error {percent(1 - confidence)} %, zone of equivalence {zone})."
    )


def _tasks(setting: Setting) -> str:
    numbers = sorted(at.n_tasks for at in setting.shots.values())
    return " to ".join(dict.fromkeys(f"{n:,}" for n in (numbers[0], numbers[-1])))


def _of_origins(setting: Setting) -> str:
    known = [at.n_origins for at in setting.shots.values() if at.n_origins is not None]
    return f" of {min(known)} origins" if known else ""


def _seeds(setting: Setting) -> str:
    counts = sorted({len(contestant.seeds) for contestant in setting.contestants})
    if counts == [1]:
        return "one training seed"
    return f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} training seeds"


def _dagger(setting: Setting, mark: str) -> str:
    if not any(contestant.transductive for contestant in setting.contestants):
        return ""
    return f" {mark}: transductive, a prediction may depend on its batch."


def escaped_latex(text: str) -> str:
    """Text as LaTeX shows it."""
    # Two hyphens or commas would be joined to a dash, or to a quotation mark
    shown = "".join(_OF_LATEX.get(letter, letter) for letter in printable(text))
    return re.sub(r"([-,])(?=\1)", r"\1{}", shown)


def escaped_markdown(text: str) -> str:
    """Text as Markdown shows it, also in a cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>|~#$])", r"\\\1", printable(text))
