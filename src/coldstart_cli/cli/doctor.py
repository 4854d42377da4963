"""`coldstart doctor`: what this machine has, whether outputs can be written, and a short training."""

from __future__ import annotations

import contextlib
import io
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from coldstart_cli.cli.parsing import Namespace, Parser
from coldstart_cli.processes import streams


def add(program: Parser) -> None:
    """The command, which takes nothing."""
    program.command("doctor", run, "versions, devices, threads, a write test and a short training")


def run(arguments: Namespace) -> int:
    """Prints a line for each check.

    Returns:
        0, or 1 where a check failed.
    """
    streams.set_up()
    checks: list[tuple[str, Callable[[], str]]] = [
        ("versions", _versions),
        ("devices", _devices),
        ("threads", _threads),
        ("cache", _cache),
        ("outputs", _writes),
        ("training", _trains),
    ]
    failed = 0
    for name, check in checks:
        try:
            print(f"ok    {name:<9} {check()}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL  {name:<9} {' '.join(str(error).split())}", flush=True)
    return 1 if failed else 0


def _versions() -> str:
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "hydra-core", "scipy"))
    return f"coldstart {version('coldstart-cli')}, Python {platform.python_version()}, {packages}"


def _devices() -> str:
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    taken = "cuda" if torch.cuda.is_available() else found[-1]
    return f"{', '.join(found)}; hardware=auto takes {taken}"


def _threads() -> str:
    import torch

    from coldstart_cli.hardware import usable_cores

    return f"{usable_cores()} cores may be used, torch takes {torch.get_num_threads()} of them"


def _cache() -> str:
    from coldstart_cli.files.caching import cache_folder

    return f"{cache_folder()} can be written"


def _writes() -> str:
    from coldstart_cli.files.durable import write_bytes

    folder = Path("outputs")
    existed = folder.exists()
    folder.mkdir(exist_ok=True)
    probe = folder / ".doctor"
    write_bytes(probe, b"probe")
    probe.unlink()
    if not existed:
        folder.rmdir()
    return f"{folder.resolve()} can be written"


def _trains() -> str:
    from coldstart_cli.config import composition
    from coldstart_cli.experiment import running

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        overrides = ["experiment=smoke", "dataset=sinusoid", "model=mlp", f"outputs={folder}", "logger=[]"]
        options = running.Options(True, False, ["coldstart", "doctor"])
        results: list[str] = []
        with contextlib.redirect_stdout(io.StringIO()):
            composition.run_jobs(overrides, [], lambda c: results.append(running.train(c, options).line))
    return f"MAML on sinusoids in {time.perf_counter() - started:.1f} s: {results[0]}"
