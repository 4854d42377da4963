"""The page: one file that holds nothing of a bundle, and draws what /openapi.json says of it."""

from __future__ import annotations

from functools import cache

from coldstart_cli.reports.html.inline import environment, policy_hash, source

PACKAGE = "coldstart_cli.serving"


@cache
def page() -> tuple[str, str]:
    """The page, and the content security policy that it is sent with: its own script and style alone run."""
    style, script = (source(PACKAGE, name) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; script-src '{policy_hash(script)}'; style-src '{policy_hash(style)}'; "
        "connect-src 'self'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return environment(PACKAGE).get_template("page.html").render(style=style, script=script), policy
