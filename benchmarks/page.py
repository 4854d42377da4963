"""docs/benchmarks.md, section by section.

    python -m benchmarks.page            measures every section and prints it
    python -m benchmarks.page --write    writes it into docs/benchmarks.md too; `make bench`
    python -m benchmarks.page steps startup --write      these alone; the others stay as they are

A section is a module of this folder and its name in SECTIONS. Its function `section() -> str` measures and
returns Markdown that begins with a `## ` heading; called by its name, the module ends in
`page.show("its name", section(), "--write" in sys.argv)`. Each is measured in a process of its own.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

SECTIONS = ("bench", "compiled", "evaluating", "neighbour", "sampling", "startup", "growth")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main(names: tuple[str, ...], write: bool) -> int:
    """Measures each section in a process of its own, one after another.

    Returns:
        0, or 1 where a section failed; the others are written nevertheless.
    """
    failed = []
    for name in names:
        words = [sys.executable, "-m", f"benchmarks.{name}", *(["--write"] if write else [])]
        if subprocess.run(words).returncode:
            failed.append(name)
    if failed:
        print(
            f"page: {', '.join(failed)} failed; what stood in {PAGE.name} before still stands",
            file=sys.stderr,
        )
    return 1 if failed else 0


def show(name: str, text: str, write: bool) -> None:
    """Prints a section; writes it into the page in place of what stood there."""
    print(text.strip())
    if write:
        old = PAGE.read_text() if PAGE.exists() else ""
        PAGE.write_text(replaced(old, name, text.strip()))


def replaced(page: str, name: str, text: str) -> str:
    """The page with one section anew, all in the order of SECTIONS."""
    found = dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", page, re.S))
    found[name] = text
    parts = [f"<!-- {n} -->\n{found[n]}\n<!-- end -->" for n in SECTIONS if n in found]
    return "\n\n".join(["# Benchmarks", _machine(), *parts]) + "\n"


def _machine() -> str:
    import torch

    from coldstart_cli.hardware import Hardware, usable_cores

    plain = Hardware(
        device="cpu",
        threads=None,
        processes=1,
        precision="fp32",
        deterministic=True,
        vectorize="auto",
        replay=True,
        shard=False,
        compile=False,
    )
    return (
        f"Written by `make bench`: {plain.facts()['name']}, {usable_cores()} cores and as many threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}. Medians, with quartiles in brackets."
    )


if __name__ == "__main__":
    chosen = tuple(word for word in sys.argv[1:] if not word.startswith("-"))
    unknown = set(chosen) - set(SECTIONS)
    if unknown:
        sys.exit(f"page: there is no section {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    sys.exit(main(chosen or SECTIONS, "--write" in sys.argv[1:]))
