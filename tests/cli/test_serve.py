"""`coldstart serve`: its words and its refusals."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from coldstart_cli.cli import serve
from tests.kit.small_runs import Cli

server: Any = pytest.importorskip("coldstart_cli.serving.server", reason="needs the extra serve",
                                  exc_type=ImportError)  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command asks of the server, which does not run."""
    heard: list[Any] = []

    def stand_in(plan: Any, token: Any, ready: Any, told: Any) -> None:
        heard.append((plan, token, told))
        ready("http://127.0.0.1:8000/")
        if told is not None:
            told("a line")

    monkeypatch.setattr(server, "serve", stand_in)
    monkeypatch.delenv("COLDSTART_TOKEN", raising=False)
    return heard


def test_words_change_the_values_of_the_file(cli: Cli, asked: list[Any]) -> None:
    code, out, err = cli("serve", "bundle=my bundle", "port=0", "per_minute=null", "host=::1")
    (plan, token, _) = asked[0]
    assert (code, plan.bundle, plan.port, plan.per_minute, plan.host, token) == (
        0,
        "my bundle",
        0,
        None,
        "::1",
        None,
    )
    assert out == "http://127.0.0.1:8000/ answers by my bundle; Ctrl-C stops it\n" and err == "a line\n"
    cli("serve", "--quiet")
    assert asked[1][2] is None and asked[1][0].bundle == "bundle"


def test_a_token_comes_from_the_environment_or_the_command_line(
    cli: Cli, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLDSTART_TOKEN", "of the environment")
    cli("serve")
    cli("serve", "token=a'b{c,d}=")
    monkeypatch.setenv("COLDSTART_TOKEN", "")
    cli("serve")
    assert [token for _, token, _ in asked] == ["of the environment", "a'b{c,d}=", None]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("prt=1", "serve.prt: there is no such key; did you mean port?"),
        ("port=x", "serve.port: "),
        ("port=-1", "serve.port: "),
        ("max_mb=0", "serve.max_mb: "),
    ],
)
def test_a_word_that_is_none_is_refused_in_one_line(cli: Cli, asked: list[Any], word: str, line: str) -> None:
    code, out, err = cli("serve", word)
    assert (code, out, asked) == (2, "", []) and err.startswith(line) and err.count("\n") == 1


def test_a_missing_extra_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    find = serve.find_spec
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    code, _, err = cli("serve")
    assert (
        code == 2 and err == "serve: uvicorn is not installed; pip install -e '.[serve]' in the clone (E50)\n"
    )


def test_help_names_the_keys_and_imports_no_server(cli: Cli) -> None:
    code, out, _ = cli("serve", "--help")
    assert code == 0 and "max_mb=8.0" in out and "token=" in out
    assert sys.modules["coldstart_cli.cli.serve"] is serve
