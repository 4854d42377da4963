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
    listed = _LIST.sub(lambda asked: "\n".join(_bullets(config.nav or [], docs, asked[1])), markdown)
    return linked(listed, page.file.src_uri, docs.name)


def _bullets(nav: list[Any], docs: Path, pattern: str) -> Iterator[str]:
    """A line for each page that `<!-- pages: tutorials/*.md -->` asks for, in the navigation's order."""
    for place in _places(nav):
        if fnmatch(place, pattern):
            title = _TITLE.search((docs / place).read_text(encoding="utf-8"))
            yield f"- [{title[1] if title else place}]({place})"


def _places(nav: list[Any]) -> Iterator[str]:
    """The pages of a navigation, in their order."""
    for item in nav:
        value = next(iter(item.values())) if isinstance(item, dict) else item
        yield from _places(value) if isinstance(value, list) else [value]


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
        if place.startswith(f"{docs}/reference/"):  # made, and perhaps in a copy of docs/ alone
            return f"[{found['text']}]({_between(page, place, docs)}{mark}{part})"
        if not (ROOT / place).exists():
            return found[0]  # mkdocs says what is wrong with it
        if place in PROJECT:
            place = f"{docs}/{_project(place)}"
        if not place.startswith(f"{docs}/") or (ROOT / place).is_dir():
            return found["text"]
        return f"{found['image']}[{found['text']}]({_between(page, place, docs)}{mark}{part})"

    return "".join(_LINK.sub(link, text) if not fenced else text for fenced, text in _parts(markdown))


def _between(page: str, place: str, docs: str) -> str:
    """The way from a page of the site to a file of docs."""
    return posixpath.relpath(place, posixpath.dirname(f"{docs}/{page}"))


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


def expanded(nav: list[Any], known: list[str], taken: set[str] | None = None) -> list[Any]:
    """The navigation with pages in place of patterns; a section that is empty then is left out.

    A pattern stands for the pages that none before it has taken, an `index.md` first, then by name;
    `reference/strategies/*` becomes a section for each family.
    """
    taken = set() if taken is None else taken
    found: list[Any] = []
    for item in nav:
        title, value = next(iter(item.items())) if isinstance(item, dict) else ("", item)
        if value == "reference/strategies/*":
            families = strategies.by_families(pages.groups())
            found += [
                {name.capitalize(): [f"reference/{p}" for p in below]} for name, below in families.items()
            ]
            continue
        if isinstance(value, list):
            value = expanded(value, known, taken)
        elif "*" in value:
            matching = [page for page in known if fnmatch(page, value) and page not in taken]
            value = sorted(matching, key=lambda page: (not page.endswith("index.md"), page))
            taken.update(value)
        else:
            taken.add(value)
        if not isinstance(value, list):
            found.append(item)
        elif value and title:
            found.append({title: value if len(value) > 1 or isinstance(value[0], dict) else value[0]})
        else:
            found += value
    return found
