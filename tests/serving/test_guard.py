"""Who may ask, how often, and what the log says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")

from coldstart_cli.serving.guard import MOST_CLIENTS, Guard, Rates, Rules, hosts_of, name_of

HOSTS = hosts_of(["localhost", "127.0.0.1", "::1"])
TOKEN = "0123456789abcdef"


class Asking:
    """Calls a guard as uvicorn does, before an application that answers 200, or fails."""

    def __init__(self, rules: Rules, fault: Exception | None = None) -> None:
        self.told: list[str] = []
        self.fault = fault
        self.guard = Guard(self.application, rules, self.told.append)

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        if self.fault is not None:
            raise self.fault
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def __call__(
        self, path: str = "/predict", headers: Mapping[str, str] | None = None, client: str = "127.0.0.1"
    ) -> tuple[int, dict[bytes, bytes], Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("the guard reads no body")

        given = {"host": "localhost:8000", **(headers or {})}
        scope = {
            "type": "http", "method": "POST", "path": path, "client": (client, 5),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }  # fmt: skip
        asyncio.run(self.guard(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


def rules(**changes: Any) -> Rules:
    return Rules(**{"hosts": HOSTS, "token": None, "per_minute": None, **changes})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]", "[::1]:80"])
def test_this_machine_may_be_called_by_its_names(host: str) -> None:
    assert Asking(rules())(headers={"host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "",
     "localhost:", "user@localhost", "localhost@evil", "localhost:80:80", "[::2]", "::1",
     "localhost/..", "127.0.0.2", "\xe9"],
)  # fmt: skip
def test_another_name_is_refused_as_a_rebound_one(host: str) -> None:
    status, _, answer = Asking(rules())(headers={"host": host})
    assert status == 400 and answer["error"].startswith("Host: ")


def test_any_name_serves_where_none_is_known() -> None:
    assert Asking(rules(hosts=frozenset()))(headers={"host": "anything"})[0] == 200
    assert name_of(b"Example.org:80") == "example.org" and hosts_of(["fe80::1"]) == {"[fe80::1]"}


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:9000", "https://localhost"]
)
def test_pages_of_other_sites_may_not_ask(origin: str) -> None:
    assert Asking(rules())(headers={"origin": origin})[0] == 403


def test_the_page_of_this_server_may_ask() -> None:
    assert Asking(rules())(headers={"origin": "http://localhost:8000"})[0] == 200


def test_a_token_is_needed_where_there_is_one() -> None:
    asking = Asking(rules(token=TOKEN))
    for header in ("", TOKEN, f"bearer {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xe9"):
        status, headers, answer = asking(headers={"authorization": header} if header else {})
        assert status == 401 and headers[b"www-authenticate"] == b"Bearer"
        assert answer["error"].startswith("Authorization: ")
    assert asking(headers={"authorization": f"Bearer {TOKEN}"})[0] == 200
    assert asking("/openapi.json")[0] == 401
    assert asking("/")[0] == asking("/health")[0] == 200
    assert TOKEN not in "".join(asking.told)


def test_a_client_that_asks_too_often_waits_and_others_do_not() -> None:
    asking = Asking(rules(per_minute=3, token=TOKEN))
    assert [asking(client="a")[0] for _ in range(4)] == [401, 401, 401, 429]  # guessing counts too
    _, headers, answer = asking(client="a")
    assert 1 <= int(headers[b"retry-after"]) <= 21 and answer["error"].startswith("client: more than 3")
    assert asking(client="b")[0] == 401


def test_a_bucket_fills_evenly_and_no_further_than_full() -> None:
    now = [0.0]
    rates = Rates(60, lambda: now[0])
    assert [rates.wait("a") for _ in range(60)] == [0.0] * 60
    assert rates.wait("a") == pytest.approx(1)
    now[0] = 0.5
    assert rates.wait("a") == pytest.approx(0.5)
    now[0] = 1.0
    assert rates.wait("a") == 0
    now[0] = 1e6
    assert [rates.wait("a") > 0 for _ in range(61)] == [False] * 60 + [True]


def test_clients_are_forgotten_before_they_fill_the_memory() -> None:
    rates = Rates(1, lambda: 0.0)
    assert rates.wait("first") == 0 and rates.wait("first") > 0
    for number in range(MOST_CLIENTS):
        rates.wait(str(number))
    assert rates.wait("first") == 0 and rates.wait(str(MOST_CLIENTS - 1)) > 0


def test_the_log_has_a_line_without_query_and_without_control_characters() -> None:
    asking = Asking(rules())
    asking("/a\x1b[31m\n" + "b" * 500)
    (line,) = asking.told
    assert line.isprintable() and len(line) < 200 and "POST /a\\x1b[31m\\n" in line and " 200 " in line


def test_a_fault_is_answered_in_json_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    asking = Asking(rules(), KeyError("secret"))
    status, _, answer = asking()
    assert (status, list(answer)) == (500, ["error"]) and "secret" not in answer["error"]
    assert "secret" in caplog.text and " 500 " in asking.told[0]


def test_what_is_no_page_may_run_nothing() -> None:
    _, headers, _ = Asking(rules())()
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'")
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert not [name for name in headers if name.startswith(b"access-control")]
