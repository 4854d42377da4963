"""What pages of one file share."""

from __future__ import annotations

import base64
import hashlib

import pytest
from jinja2 import UndefinedError

from coldstart_cli.reports.html.inline import environment, policy_hash, source

PACKAGE = "coldstart_cli.reports.html"


def test_policy_names_a_script_by_its_sha256() -> None:
    text = source(PACKAGE, "page.js")
    expected = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert policy_hash(text) == f"sha256-{expected}" and text == text.strip()


def test_what_enters_a_template_is_escaped_and_must_be_there() -> None:
    made = environment(PACKAGE).from_string("{{ name }}")
    assert made.render(name="<script>") == "&lt;script&gt;"
    with pytest.raises(UndefinedError):
        made.render()
