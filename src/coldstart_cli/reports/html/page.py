"""What every report of ours has in common: one file, a style, a script, and a policy that allows no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coldstart_cli.reports.html.inline import environment, policy_hash, source

PACKAGE = "coldstart_cli.reports.html"
SCRIPTS = (
    "svg.js", "format.js", "chart.js", "legend.js",
    "lines.js", "costs.js", "matrix.js", "similarity.js", "held_out.js", "evaluated.js", "sort.js", "page.js",
)  # fmt: skip
"""In this order one script, in one scope."""


def rendered(template: str, **values: Any) -> str:
    """A page from a template that extends page.html.

    Args:
        values: what templates name; `kind`, `title`, `sentences`, `notes`, `left_out` (names and reasons),
            `of_which` (what these are), `told` and `drawn` (the numbers of the charts) are page.html's.
    """
    style = source(PACKAGE, "report.css")
    # One scope of its own; and an error in one script is an error of the whole
    script = "\n".join(['"use strict"; {', *(source(PACKAGE, name) for name in SCRIPTS), "}"])
    hashes = {"style_hash": policy_hash(style), "script_hash": policy_hash(script)}
    return environment(PACKAGE).get_template(template).render(style=style, script=script, **hashes, **values)


def teller(names: Sequence[str]) -> Callable[[str], str]:
    """What gives a sentence its capital and its full stop; one of `names` keeps its small letter."""

    def told(sentence: str) -> str:
        # A whole name at its start, not the beginning of a longer word: `at` must not keep `at k = 1` small.
        named = any(sentence.startswith(name) and not sentence[len(name) :][:1].isalnum() for name in names)
        start = sentence[:1] if named else sentence[:1].upper()
        return f"{start}{sentence[1:]}{'' if sentence.endswith(('.', '!', '?')) else '.'}"

    return told
