"""The page of files: run directory, records, summary, bundle, audit; from the docstrings that define them."""

from __future__ import annotations

import inspect
from types import ModuleType

from coldstart_cli.bundles.kept import card, folder
from coldstart_cli.datasets.audit import findings, task_bank
from coldstart_cli.metrics import records, results
from coldstart_cli.runs import run
from reference.dataclass_fields import section, with_parts
from reference.markdown import body, needed


def page() -> str:
    """The page.

    Raises:
        Unsaid: for a file or one of its objects without a sentence.
    """
    parts = [
        "# Files",
        "Plain files, written atomically: JSON, YAML, safetensors. A reader refuses a newer `format` and "
        "takes over older ones. `null` stands where something is not known.",
        *_part("Run directory", run),
        "### records.jsonl { #records }",
        body(needed(inspect.getdoc(records) or "", records.__name__)),
        "One JSON object a line; a field that is absent (`origin`, `beside`, ...) is left out, and those of "
        "`believed` stand beside the others.",
        *_objects(records.Record),
        "### summary.json { #summary-json }",
        body(needed(inspect.getdoc(results) or "", results.__name__)),
        *_objects(results.Summary),
        *_part("Bundle", folder),
        "### card.json { #card-json }",
        body(needed(inspect.getdoc(card) or "", card.__name__)),
        *_objects(card.Card),
        *_part("Task bank", task_bank),
        "`coldstart data check --json` prints this:",
        *_objects(findings.DataAudit),
        "## Comparison",
        "`coldstart compare --json` is described in [The comparison](../comparison.md).",
    ]
    return "\n\n".join(parts) + "\n"


def _part(title: str, module: ModuleType) -> list[str]:
    return [f"## {title}", body(needed(inspect.getdoc(module) or "", module.__name__))]


def _objects(one: type) -> list[str]:
    """A dataclass and all that it holds."""
    shown = with_parts(one)
    return [text for part in shown for text in section(part, "####", shown, as_json=True)]
