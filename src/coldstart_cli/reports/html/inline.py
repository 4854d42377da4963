"""Pages that are one file: templates, with their script and style, which nothing else may join."""

from __future__ import annotations

import base64
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from coldstart_cli.digests import whole_digest


@cache
def environment(package: str) -> Environment:
    """The templates of a package's folder `templates`; what enters them is escaped."""
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return made


def source(package: str, name: str) -> str:
    """A script or a style of the folder `templates`, to stand in a page as it is."""
    return (resources.files(package) / "templates" / name).read_text(encoding="utf-8").strip()


def policy_hash(text: str) -> str:
    """Of a script or style, as a content security policy names it."""
    return "sha256-" + base64.b64encode(whole_digest([text])).decode()
