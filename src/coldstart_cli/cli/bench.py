"""`coldstart bench`: how fast this machine trains, of the most that it can do."""

from __future__ import annotations

import json

from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.errors import RequestError
from coldstart_cli.processes import streams


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "bench",
        run,
        "how fast training is here, of the most this machine can do",
        "Takes a minute, with --quick a quarter of one, where nothing else runs.",
        examples=("coldstart bench --quick", "coldstart bench hardware=cuda --json"),
    )
    parser.key_values(Words(roots=("hardware",)))
    parser.flag("--quick", action="store_true", help="fewer kinds of steps, measured for a shorter time")
    parser.flag("--json", action="store_true", help="print JSON")


def run(arguments: Namespace) -> int:
    """Measures and prints.

    Raises:
        RequestError: for a word that chooses anything but hardware.
    """
    for override in arguments.overrides:
        if not override.startswith(("hardware=", "hardware.")):
            raise RequestError(
                f"{override}: bench says itself what is measured; choose hardware alone (hardware.threads=1)"
            )
        if override.startswith("hardware.precision"):
            raise RequestError("hardware.precision: bench measures both; leave it out")
    streams.set_up()
    from coldstart_cli.bench.rows import benchmark
    from coldstart_cli.reports import bench_table

    record = benchmark(arguments.overrides, "quick" if arguments.quick else "usual")
    if arguments.json:
        from coldstart_cli.metrics.json_edge import to_json

        print(json.dumps(to_json(record), indent=1))
    else:
        bench_table.show(record)
    return 0
