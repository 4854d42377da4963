"""What stands before every request: who may ask, how often, and what the log says of it. No body is in it."""

from __future__ import annotations

import contextlib
import hmac
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coldstart_cli.safe_text import printable
from coldstart_cli.serving.reading import Refused

OPEN = ("/", "/health")
"""What is answered without a token: a page that holds nothing of the bundle, and that the server lives."""
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
NOTHING = b"default-src 'none'; frame-ancestors 'none'"
"""The content security policy of what is no page."""
MOST_CLIENTS = 4096
"""Whose rates are remembered; the one that asked longest ago is forgotten first."""

_log = logging.getLogger(__name__)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@]+)(?::\d{1,5})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """Who may ask.

    Attributes:
        hosts: names that a request may call the server by, in small letters; empty: any.
        token: that a request must carry, or None.
        per_minute: requests of one client; None: any number.
    """

    hosts: frozenset[str]
    token: str | None
    per_minute: int | None


@final
class Rates:
    """A bucket of requests for each client, which fills up evenly and is full at first.

    Args:
        per_minute: what flows in, and what it holds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = per_minute, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until this client may ask again; 0 where it may ask now, which counts."""
        now = self._clock()
        left, since = self._left.pop(client, (float(self._most), now))
        left = min(float(self._most), left + (now - since) * self._most / 60)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 60 / self._most


def refusal_of(error: Refused) -> JSONResponse:
    """The response that says why."""
    return JSONResponse({"error": error.line}, error.status, error.headers)


@final
class Guard:
    """Refuses what the rules do not allow, answers what fails, and tells of each request in one line.

    Args:
        told: hears that line; None: nobody does.
    """

    def __init__(self, app: ASGIApp, rules: Rules, told: Callable[[str], None] | None) -> None:
        self._app, self._rules, self._told = app, rules, told
        self._rates = None if rules.per_minute is None else Rates(rules.per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # uvicorn is told to offer nothing else
            return
        began, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [*message["headers"]]
                if not any(name == b"content-security-policy" for name, _ in own):
                    own.append((b"content-security-policy", NOTHING))
                message = {**message, "headers": [*own, *HEADERS]}
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, sent)
        except Refused as error:
            await refusal_of(error)(scope, receive, sent)
        except Exception as error:
            _log.exception("serve: a request failed")
            if not status:
                line = f"server: {type(error).__name__}; see what it says where it runs"
                await refusal_of(Refused(500, line))(scope, receive, sent)
        finally:
            if self._told is not None:
                with contextlib.suppress(OSError):  # whoever reads the log has gone
                    self._told(_line(scope, status, time.perf_counter() - began))

    def _check(self, scope: Scope) -> None:
        """
        Raises:
            Refused: for what the rules do not allow.
        """
        named = dict[bytes, bytes](scope["headers"])
        host, hosts = named.get(b"host", b""), self._rules.hosts
        if hosts and name_of(host) not in hosts:
            known = ", ".join(sorted(hosts))
            raise Refused(400, f"Host: this server is not called that; call it {known}")
        origin = named.get(b"origin")
        if origin is not None and origin.rpartition(b"://")[2].lower() != host.lower():
            raise Refused(403, "Origin: another site's page may not ask; open this server's own page")
        if self._rates is not None and (seconds := self._rates.wait(_client(scope))):
            after = {"Retry-After": str(int(seconds) + 1)}
            raise Refused(429, f"client: more than {self._rules.per_minute} requests a minute; wait", after)
        if self._rules.token is not None and scope["path"] not in OPEN:
            given, expected = named.get(b"authorization", b""), f"Bearer {self._rules.token}".encode()
            if not hmac.compare_digest(given, expected):
                raise Refused(
                    401,
                    "Authorization: the token is missing or another; send Authorization: Bearer TOKEN",
                    {"WWW-Authenticate": "Bearer"},
                )


def name_of(host: bytes) -> str | None:
    """What a Host header calls the server, in small letters without its port; None where it is no host."""
    found = _HOST.fullmatch(host.decode("latin-1").lower())
    return found[1] if found else None


def hosts_of(names: Iterable[str]) -> frozenset[str]:
    """Names as a Host header writes them: an address of IPv6 in brackets."""
    return frozenset(f"[{name}]" if ":" in name else name.lower() for name in names)


def _client(scope: Scope) -> str:
    client: Any = scope.get("client")
    return str(client[0]) if client else "?"


def _line(scope: Scope, status: int, seconds: float) -> str:
    """Time, client, method, path without its query, status, milliseconds."""
    path = printable(scope["path"])[:100]
    asked = f"{_client(scope)} {printable(scope['method'])[:10]} {path}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {asked} {status or '-'} {1e3 * seconds:.0f} ms"
