"""A comparison as one HTML file, for a browser without a network.

The tables are in the file and need no script. The charts are drawn by the file's own script from JSON; text
enters the page as text only. The file's content security policy names script and style by their hashes and
allows nothing else, so that no name in a comparison can run or load anything.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from coldstart_cli.digests import whole_digest
from coldstart_cli.files.durable import finite
from coldstart_cli.files.outputs import check_output, write_output
from coldstart_cli.metrics.numbers import percent
from coldstart_cli.reports.comparison_table import numbers_of
from coldstart_cli.reports.html import chart_data, run_tables, tables

SCRIPTS = (
    "svg.js", "format.js", "chart.js", "legend.js",
    "lines.js", "costs.js", "matrix.js", "similarity.js", "page.js",
)  # fmt: skip
"""In this order one script, in one scope."""


def write_html(comparison: Mapping[str, Any], path: Path) -> None:
    """Writes the report whole or not at all.

    Raises:
        RequestError: if `path` is a folder, lies in none, is read-only, or cannot be written.
    """
    check_output(path, "--html")
    write_output(path, render(comparison).encode(), "--html")


def render(comparison: Mapping[str, Any]) -> str:
    """The report of a comparison (docs/comparison.md); the same comparison gives the same text."""
    known = chart_data.visible(finite(comparison))
    style = _source("report.css")
    # One scope of its own; and an error in one script is an error of the whole
    script = "\n".join(['"use strict"; {', *map(_source, SCRIPTS), "}"])
    settings, runs = run_tables.settings(known)
    template = _environment().get_template("report.html")
    return template.render(
        comparison=known,
        told=_teller(known),
        percent=percent,
        title=_title([setting["title"] for setting in known["settings"]]),
        settings=[_section(i, known) for i in range(len(known["settings"]))],
        contestants=settings,
        runs=runs,
        environments=[table for table in run_tables.environments(known) if table],
        budgets=[
            tables.budgets(setting, name)
            for setting, name in zip(known["settings"], _names(known), strict=True)
        ],
        drawn=chart_data.drawn(known),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("coldstart_cli.reports.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _title(titles: Sequence[str]) -> str:
    if not titles:
        return "Nothing to compare"
    different = list(dict.fromkeys(titles))
    return "; ".join(different) if len(different) < 4 else f"{len(titles)} settings"


def _names(comparison: Mapping[str, Any]) -> list[str]:
    """A title for each setting that tells it from the others: with its k where titles are the same."""
    titles = [setting["title"] for setting in comparison["settings"]]
    return [
        title if titles.count(title) == 1 else f"{title}, k = {', '.join(setting['shots'])}"
        for title, setting in zip(titles, comparison["settings"], strict=True)
    ]


def _teller(comparison: Mapping[str, Any]) -> Callable[[str], str]:
    """What gives a sentence its capital and its full stop; a name keeps its small letter."""
    names = tuple(
        name
        for setting in comparison["settings"]
        for name in (setting["title"], *(contestant["name"] for contestant in setting["contestants"]))
    )

    def told(sentence: str) -> str:
        named = any(sentence.startswith(name) and not sentence[len(name) :][:1].isalnum() for name in names)
        start = sentence[:1] if named else sentence[:1].upper()
        return f"{start}{sentence[1:]}{'' if sentence.endswith(('.', '!', '?')) else '.'}"

    return told


def _section(index: int, comparison: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of one setting."""
    setting = comparison["settings"][index]
    metric, name = setting["headline"], _names(comparison)[index]
    return {
        **{key: setting[key] for key in ("title", "sentences", "tasks", "shots")},
        "index": index,
        "name": name,
        "heading": name if len(comparison["settings"]) > 1 else "Results",
        "percent": setting["percent"],
        "n_tasks": _tasks(setting),
        "metric": metric.upper() if len(metric) <= 4 else metric[:1].upper() + metric[1:],
        "higher": setting["higher_is_better"],
        "shot": "labelled examples of each class" if setting["n_way"] else "labelled examples",
        "zone": numbers_of(setting).zone(*(shot["zone"] for shot in setting["shots"].values())),
        "results": tables.results(setting),
        "curves": tables.curves(setting),
        "transfer": tables.transfer(setting),
        "metrics": tables.metrics(setting),
        "calibration": tables.calibrations(setting),
        "hardware": tables.hardware(setting),
        "costs": tables.costs(setting) if chart_data.costs(setting) else None,
        "pairs": tables.pairs(setting) if len(setting["contestants"]) > 1 else None,
        "similarity": tables.similarity(setting) if setting["similarity"] else None,
    }


def _tasks(setting: Mapping[str, Any]) -> str:
    numbers = {k: shot["n_tasks"] for k, shot in setting["shots"].items()}
    if len(set(numbers.values())) == 1:
        return f"{next(iter(numbers.values())):,} tasks at {'each k' if len(numbers) > 1 else 'one k'}"
    return ", ".join(f"{n:,} tasks at k = {k}" for k, n in numbers.items()) or "no tasks"


def _source(name: str) -> str:
    return (
        (resources.files("coldstart_cli.reports.html") / "templates" / name)
        .read_text(encoding="utf-8")
        .strip()
    )


def _hash(text: str) -> str:
    """Of a script or style, as a content security policy names it."""
    return "sha256-" + base64.b64encode(whole_digest([text])).decode()
