"""All pages of the reference, and how they come to lie in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from coldstart_cli.config.catalog import catalogue
from coldstart_cli.config.outline import Groups
from coldstart_cli.package import packaged_conf
from reference import commands, configs, formats, measured, python_api, strategies
from reference.markdown import table

PLACE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def groups() -> Groups:
    """The configs of the package itself: no plug-in's, so that the pages are the same everywhere."""
    return catalogue([packaged_conf()])


def pages() -> dict[str, str]:
    """File -> Markdown.

    Raises:
        Unsaid: for whatever has no sentence.
    """
    known = groups()
    return {
        "index.md": _index(known),
        "commands.md": commands.page(known),
        "python_api.md": python_api.page(),
        "formats.md": formats.page(),
        "reports.md": measured.page(),
        **configs.group_pages(known),
        **strategies.pages(known, ask=strategies.serves),
    }


def _index(known: Groups) -> str:
    choices = [[f"[{name}]({configs.file_of(name)})", text] for name, text in configs.GROUPS.items()]
    choices[0][0] = "[strategy](strategies/index.md)"
    plans = ", ".join(f"[{plan.name}]({configs.keys_of(plan.name)})" for plan in known[""])
    return "\n\n".join(
        [
            "# Reference",
            "Made from the program itself: what a page says is what `--help`, `coldstart explain` and "
            "the docstrings say.",
            "- [Commands](commands.md): usage, flags, exit codes, environment variables\n"
            "- [Strategies](strategies/index.md): what each serves, its options, its place in comparisons\n"
            "- [Python API](python_api.md): functions and classes\n"
            "- [Files](formats.md): run directory, bundle, records",
            "## Configs",
            table(("group", "what it chooses"), choices),
            f"Keys of the commands that have a file of their own: {plans}.",
        ]
    ) + "\n"  # fmt: skip


def write(made: Mapping[str, str], folder: Path) -> int:
    """Writes what differs from what lies there, removes what is no longer made; how many were written."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.rglob("*.md"):
        if old.relative_to(folder).as_posix() not in made:
            old.unlink()
    changed = 0
    for name, text in made.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed += 1
    return changed
