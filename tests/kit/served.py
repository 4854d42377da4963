"""A bundle served on the loopback interface by a thread of the test, and a plain client of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.config import composition
from coldstart_cli.serving.plan import ServePlan, plan_of

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")

from coldstart_cli.serving.app import app  # noqa: E402
from coldstart_cli.serving.guard import Rules, hosts_of  # noqa: E402
from coldstart_cli.serving.server import HERE, settings  # noqa: E402

PATIENCE = 60.0


def plan(*words: str) -> ServePlan:
    """The values of conf/serve.yaml with some changed."""
    return plan_of(composition.values_of("serve", list(words)))


@dataclass(frozen=True)
class Said:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """Asks a server, each time over a connection of its own."""

    port: int
    told: list[str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Said(answer.status, names, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Said:
        return self.ask("GET", path, headers=headers)

    def predict(self, inputs: Any, headers: Mapping[str, str] | None = None, **options: Any) -> Said:
        body = json.dumps({"inputs": inputs, **options}).encode()
        return self.ask("POST", "/predict", body, {"Content-Type": "application/json", **(headers or {})})


@contextmanager
def served(bundle: Bundle, *words: str, token: str | None = None, name: str = "b") -> Iterator[Client]:
    """A server of this bundle, which is stopped at the end, and has ended then.

    Args:
        words: changes of conf/serve.yaml.
    """
    asked, told = plan(*words), list[str]()
    rules = Rules(hosts=hosts_of(HERE), token=token, per_minute=asked.per_minute)
    server = uvicorn.Server(settings(app(name, bundle, asked, rules, told.append), asked))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        run: Callable[[], object] = lambda: asyncio.run(server.serve(sockets=[listening]))  # noqa: E731
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield Client(listening.getsockname()[1], told)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
    assert not thread.is_alive(), "the server does not stop"
