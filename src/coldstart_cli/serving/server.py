"""One process that answers over HTTP until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import socket
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.errors import RequestError
from coldstart_cli.serving.app import app
from coldstart_cli.serving.guard import Rules, hosts_of
from coldstart_cli.serving.plan import ServePlan

TOKEN = "COLDSTART_TOKEN"
"""The environment variable that holds a token, which a command line would show to all users."""
SHORTEST = 16
"""Characters of a token."""
HERE = ("localhost", "127.0.0.1", "::1")
_ANYWHERE = ("0.0.0.0", "::")


def serve(
    plan: ServePlan, token: str | None, ready: Callable[[str], None], told: Callable[[str], None] | None
) -> None:
    """Answers until SIGTERM or SIGINT, then ends what is running.

    Args:
        token: that requests must carry; needed where the host is not this machine alone.
        ready: hears the address once requests are taken.
        told: hears a line of each request.

    Raises:
        RequestError: where it may not be served so, the address cannot be had, or the bundle not be read.
    """
    check_token(token)
    with _bound(plan, token) as listening:
        bundle = Bundle.load(plan.bundle)
        bundle.preprocess.load()
        name = Path(plan.bundle).resolve().name
        rules = Rules(hosts=_hosts(plan.host), token=token, per_minute=plan.per_minute)
        application = app(name, bundle, plan, rules, told)
        _listen(listening, plan)
        ready(address(listening))
        with _signals_end_quietly():
            asyncio.run(uvicorn.Server(settings(application, plan)).serve(sockets=[listening]))


def check_token(token: str | None) -> None:
    """
    Raises:
        RequestError: where it is none that a header can hold, or short enough to be guessed.
    """
    if token is not None and not (
        len(token) >= SHORTEST and token.isascii() and token.isprintable() and " " not in token
    ):
        raise RequestError(
            f"token: is not {SHORTEST} or more printable ASCII characters; make one, for example by "
            "openssl rand -hex 16"
        )


def address(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


@contextmanager
def _bound(plan: ServePlan, token: str | None) -> Iterator[socket.socket]:
    """A socket at the host and port.

    Raises:
        RequestError: where there is no such host, it needs a token, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(plan.host or None, plan.port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise RequestError(
            f"host: {plan.host} is no address of this machine; write host=127.0.0.1"
        ) from error
    family, kind, protocol, _, place = found
    if not ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback and token is None:
        raise RequestError(
            f"host: {plan.host} can be reached from other machines; set {TOKEN} (or token=) to what requests "
            "must carry, or leave host= out"
        )
    # By its number alone asyncio knows TCP, and sends what it has at once: else an answer waits 40 ms for an
    # acknowledgement.
    with socket.socket(family, kind, protocol or socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with _address_errors(plan):
            listening.bind(place)
        yield listening


def _listen(listening: socket.socket, plan: ServePlan) -> None:
    with _address_errors(plan):
        listening.listen(plan.connections)


@contextmanager
def _address_errors(plan: ServePlan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RequestError(
                f"port: {plan.port} is in use; name another, or port=0 for a free one"
            ) from error
        if error.errno == errno.EACCES:
            raise RequestError(f"port: {plan.port} may not be used; name one from 1024") from error
        raise RequestError(
            f"host: {plan.host} is no address of this machine ({error.strerror}); name another"
        ) from error


def _hosts(host: str) -> frozenset[str]:
    """Names that a request may call this server by; any where it listens everywhere, with a token."""
    return frozenset() if host in _ANYWHERE else hosts_of([*HERE, host])


def settings(application: ASGIApp, plan: ServePlan) -> uvicorn.Config:
    """How uvicorn is run: the same on every machine, whatever else is installed there."""
    return uvicorn.Config(
        application,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=plan.connections,
        timeout_graceful_shutdown=plan.stop_seconds,
    )


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """uvicorn raises the signals again that ended it; a server that did as it was told exits 0."""

    def nothing(number: int, frame: types.FrameType | None) -> None:
        pass

    main = threading.current_thread() is threading.main_thread()  # Python hands signals to no other
    before = {n: signal.signal(n, nothing) for n in (signal.SIGTERM, signal.SIGINT) if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
