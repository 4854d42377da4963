"""What mkdocs calls (`hooks` in mkdocs.yml): the navigation, and links that lead out of docs/.

A page of docs/ is read in two places. On the site a link to a Markdown file at the top of the repository
leads to its copy under project/, and one to any other file of the repository is plain text, for the site
holds no code. In the repository both lead to the file itself, so pages are written for that reader.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from reference import pages, strategies

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md")
"""Files at the top of the repository that the site shows as well."""

_FENCE = re.compile(r"^(?P<mark>```+|~~~+).*?^(?P=mark)\s*$", re.S | re.M)
_LINK = re.compile(
    r"(?P<code>`[^`]*`)|(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s]+)\)"
)
_LIST = re.compile(r"<!-- pages: (\S+) -->")
_TITLE = re.compile(r"^# (.+?)\s*$", re.M)
_ABSOLUTE = re.compile(r"[a-z][a-z+.-]*:|#|/", re.I)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replaces patterns in the navigation by the pages that match."""
    docs = Path(config.docs_dir)
    if not (docs / "reference").is_dir():
        raise PluginError("docs/reference: is not there; write it first (python -m reference)")
    known = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    known += [_project(name) for name in PROJECT]
    config.nav = expanded(config.nav or [], known)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the project."""
    for name in PROJECT:
        files.append(File.generated(config, _project(name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with the links that the site can follow, and lists of pages where it asks for them."""
    docs = Path(config.docs_dir)
    if page.is_homepage:  # it has no neighbours, and its headings are all in sight
        page.meta["hide"] = ["navigation", "toc"]
    if page.file.src_uri.startswith(
        ("decisions/", "project/")
    ):  # what is used is found before why it was made
        page.meta["search"] = {"boost": 0.5}
    listed = _LIST.sub(lambda asked: "\n".join(_bullets(docs, asked[1])), markdown)
    return linked(listed, page.file.src_uri, docs.name)


def _bullets(docs: Path, pattern: str) -> Iterator[str]:
    """A line for each page that `<!-- pages: tutorials/*.md -->` asks for, on a page at the top of docs/."""
    for path in sorted(docs.glob(pattern)):
        title = _TITLE.search(path.read_text(encoding="utf-8"))
        yield f"- [{title[1] if title else path.stem}]({path.relative_to(docs).as_posix()})"


def linked(markdown: str, page: str, docs: str) -> str:
    """Markdown whose links lead to pages of the site; outside of code.

    Args:
        page: its place on the site.
        docs: the name of the folder of pages in the repository.
    """
    at = {_project(name): name for name in PROJECT}.get(page, f"{docs}/{page}")

    def link(found: re.Match[str]) -> str:
        if found["code"] or _ABSOLUTE.match(found["target"]):
            return found[0]
        target, mark, part = found["target"].partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
        if not (ROOT / place).exists():
            return found[0]  # mkdocs says what is wrong with it
        if place in PROJECT:
            place = f"{docs}/{_project(place)}"
        if not place.startswith(f"{docs}/"):
            return found["text"]
        to = posixpath.relpath(place, posixpath.dirname(f"{docs}/{page}"))
        return f"{found['image']}[{found['text']}]({to}{mark}{part})"

    return "".join(_LINK.sub(link, text) if not fenced else text for fenced, text in _parts(markdown))


def _parts(markdown: str) -> Iterator[tuple[bool, str]]:
    """(whether it is a block of code, text), one after the other."""
    end = 0
    for block in _FENCE.finditer(markdown):
        yield False, markdown[end : block.start()]
        yield True, block[0]
        end = block.end()
    yield False, markdown[end:]


def _project(name: str) -> str:
    """Where the site shows a file of the repository's top."""
    return f"project/{name.lower()}"


def expanded(nav: list[Any], known: list[str]) -> list[Any]:
    """The navigation with pages in place of patterns; a section that is empty then is left out.

    `reference/strategies/*` becomes a section for each family.
    """
    found: list[Any] = []
    for item in nav:
        title, value = next(iter(item.items())) if isinstance(item, dict) else ("", item)
        if isinstance(value, list):
            inner = expanded(value, known)
            found += [{title: inner}] if inner else []
        elif value == "reference/strategies/*":
            found += [{family.capitalize(): [f"reference/{page}" for page in of_family]}
                      for family, of_family in strategies.by_families(pages.groups()).items()]  # fmt: skip
        elif "*" in value:
            # An overview comes first.
            matching = sorted(
                (page for page in known if fnmatch(page, value)),
                key=lambda p: (not p.endswith("index.md"), p),
            )
            found += (
                ([{title: matching if len(matching) > 1 else matching[0]}] if title else matching)
                if matching
                else []
            )
        else:
            found.append(item)
    return found
