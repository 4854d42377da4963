"""A served bundle under load over the loopback interface: latency, requests a second, refusals, memory.

    python -m benchmarks.serving BUNDLE INPUTS [--requests N] [--clients 1,8,32,96]

INPUTS is a file with one input of the bundle a line: a text, or JSON where the line is some. Each client asks
again as soon as it has its answer, over one connection, so that the load is as high as so many clients can
make it; they run on the same machine and take their share of it. Any status but 200 and 503 ends it.
Linux alone: memory is RssAnon of /proc, what the server's process shares with no file.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KIND = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Load:
    """What so many clients saw.

    Attributes:
        statuses: how many responses of each.
        latencies: milliseconds of those with status 200, from the first byte sent to the last one read.
    """

    seconds: float
    statuses: Counter[int]
    latencies: Sequence[float]

    def quantile(self, share: float) -> float:
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def load(port: int, bodies: Sequence[bytes], clients: int, requests: int) -> Load:
    """Makes so many requests in all, body i in request i, in turn; one that gets 503 comes again."""
    numbers, lock = iter(range(requests)), threading.Lock()
    statuses, latencies = Counter[int](), list[float]()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            while ask(connection, bodies[number % len(bodies)]) == 503:
                time.sleep(0.1)
        connection.close()

    def ask(connection: http.client.HTTPConnection, body: bytes) -> int:
        began = time.perf_counter()
        connection.request("POST", "/predict", body, KIND)
        answer = connection.getresponse()
        answer.read()
        took = 1e3 * (time.perf_counter() - began)
        with lock:
            statuses[answer.status] += 1
            if answer.status == 200:
                latencies.append(took)
        return answer.status

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(time.perf_counter() - began, statuses, latencies)


def memory(pid: int | str) -> float:
    """MB that a process shares with no file."""
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) / 1000


def bodies(path: Path) -> list[bytes]:
    """A request for each line."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            value = line
        found.append(json.dumps({"inputs": [value]}).encode())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", default="1,8,32,96")
    asked = parser.parse_args()
    words = [f"bundle={asked.bundle}", "port=0", "per_minute=null", "--quiet"]
    server = subprocess.Popen(
        [sys.executable, "-m", "coldstart_cli", "serve", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r":(\d+)/", server.stdout.readline())
        assert found, "the server does not start"
        port, sent = int(found[1]), bodies(asked.inputs)
        load(port, sent, 8, 200)
        print(f"{memory(server.pid):.0f} MB after the first 200 requests\n")
        print("| clients | requests a second | p50, ms | p95, ms | answered | 503 | memory, MB |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for clients in map(int, asked.clients.split(",")):
            seen = load(port, sent, clients, asked.requests)
            assert set(seen.statuses) <= {200, 503}, seen.statuses
            rate, held = len(seen.latencies) / seen.seconds, memory(server.pid)
            print(
                f"| {clients} | {rate:,.0f} | {seen.quantile(0.5):.1f} | {seen.quantile(0.95):.1f} | "
                f"{seen.statuses[200]:,} | {seen.statuses[503]:,} | {held:.0f} |",
                flush=True,
            )
    finally:
        server.terminate()
        assert server.wait(60) == 0


if __name__ == "__main__":
    main()
