"""Starts the processes that train one run together, and says how they ended.

On one host they are started here, by torch's elastic agent, which ends the others when one dies. Under
torchrun, on one host or many, this process is one of them already and only has to join. See ranks.py for what
they exchange.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from coldstart_cli.errors import JobError, RequestError, Unserved
from coldstart_cli.processes import ranks
from coldstart_cli.processes.safe_path import safe_path
from coldstart_cli.processes.signals import SAVING, Stopped

GRACE_SECONDS = 8
"""Between asking a process to stop, which saves the state between two steps, and its end."""
PR_SET_PDEATHSIG = 1
HANDLED = SAVING
ORPHAN_SECONDS = 3.0
"""Between asking a process to stop, whose parent is gone, and its end."""
LOST_SECONDS = 3.0
"""A process whose peer is gone waits as long to be ended, so that the peer's end is seen first."""


def started_by_torchrun() -> bool:
    """Whether the environment says that this process is one of several."""
    return ranks.world() == 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Takes part in the group that torchrun has made; does nothing where there is none."""
    if not started_by_torchrun():
        yield
        return
    with ranks.joined(_place(), "env://"), _silent_but_first():
        yield


def launch(work: Callable[..., None], arguments: tuple[Any, ...], processes: int) -> None:
    """Runs `work(*arguments)` in as many processes of one group, and waits for all.

    Args:
        work: a function of a module, as it is found by name in each process.

    Raises:
        RequestError, JobError, Stopped: as in the processes.
        JobError: naming the process that died, after the others have been ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    watched, alive = multiprocessing.get_context("spawn").Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="coldstart-") as name, watched, alive, _as_it_was(), safe_path():
        folder = Path(name)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="run",
            rdzv_backend="c10d",  # by a file: no port is opened for whoever is on the network
            rdzv_endpoint=str(folder / "rendezvous"),
            rdzv_configs={"store_type": "file"},
            local_addr="127.0.0.1",
            max_restarts=0,
            shutdown_timeout=GRACE_SECONDS,
            signals_to_handle=",".join(signal.Signals(number).name for number in HANDLED),
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs")),
        )
        try:
            elastic_launch(config, _rank)(work, arguments, name, watched)
        except SignalException as error:
            raise Stopped(int(error.sigval)) from None
        except ChildFailedError as error:
            _raise_told(folder)
            rank, failure = error.get_first_failure()
            if -failure.exitcode in HANDLED:  # before it could listen, or after
                raise Stopped(-failure.exitcode) from None
            raise JobError(_death(rank, failure.exitcode)) from None
        _raise_told(folder)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """The agent sets handlers that raise, and leaves them; it logs what is said here in one line."""
    main = threading.current_thread() is threading.main_thread()  # no other thread may set one
    handlers = {number: signal.getsignal(number) for number in (HANDLED if main else ())}
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("torch.distributed", "torch.multiprocessing")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _rank(work: Callable[..., None], arguments: tuple[Any, ...], folder: str, watched: Connection) -> None:
    """One of the processes. How it ended, where not well, lies in a file of its number."""
    os.setsid()  # a terminal's Ctrl-C reaches the first process alone, which asks these to stop
    if sys.platform == "linux":  # else torch's own SIGINT at the parent's death would be a second signal
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
    threading.Thread(target=_die_with, args=(watched,), daemon=True).start()
    _end_soon_after_sigterm()
    place = _place()
    end = 0
    try:
        with ranks.joined(place, f"file://{folder}/group"), _silent_but_first():
            try:
                work(*arguments)
            except Stopped as stopped:  # on all at once: none leaves before the first has saved
                _tell(folder, place.rank, "Stopped", str(stopped.number))
                end = 1
    except (RequestError, JobError) as error:
        _tell(folder, place.rank, type(error).__name__, str(error))
        end = 1
    except KeyboardInterrupt:  # a second signal
        end = 1
    except Exception as error:
        if _is_lost(error):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(LOST_SECONDS)
        else:
            traceback.print_exc()
            what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            _tell(folder, place.rank, "crash", f"process {place.rank} of the run: {what}; {AGAIN}")
        end = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if end:
        os._exit(end)  # no clean-up that would wait for peers


def _die_with(watched: Connection) -> None:
    """Ends this process when the other end is closed, which a parent does that is done or dead."""
    with contextlib.suppress(EOFError, OSError):
        watched.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)  # saves the state, between two steps
    time.sleep(ORPHAN_SECONDS)
    os._exit(143)


AGAIN = "the others were stopped, the same command goes on from the last checkpoint"


def _place() -> ranks.Place:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return ranks.Place(*(int(os.environ[name]) for name in names))


@contextlib.contextmanager
def _silent_but_first() -> Iterator[None]:
    """Warnings are the same in all processes; one says them."""
    with warnings.catch_warnings():
        if not ranks.first():
            warnings.simplefilter("ignore")
        yield


def _end_soon_after_sigterm() -> None:
    """Python's own handler waits for the main thread, which may wait for a peer that is gone."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while os.read(reading, 1)[0] not in (signal.SIGTERM, signal.SIGHUP):
            pass
        time.sleep(GRACE_SECONDS)
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()


def _is_lost(error: Exception) -> bool:
    """Whether it says that a peer is gone: the reason is then the peer's."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()


def _tell(folder: str, rank: int, kind: str, text: str) -> None:
    Path(folder, f"end-{rank}.json").write_text(json.dumps([kind, text]), encoding="utf-8")


def _raise_told(folder: Path) -> None:
    """Raises what a process said of its end, if one did."""
    for path in sorted(folder.glob("end-*.json")):
        kind, text = json.loads(path.read_text(encoding="utf-8"))
        if kind == "Stopped":
            raise Stopped(int(text))
        raise {"Unserved": Unserved, "RequestError": RequestError}.get(kind, JobError)(text)


def _death(rank: int, code: int) -> str:
    how = f"left with exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = f"was ended by {signal.Signals(-code).name}"
    return f"process {rank} of the run: {how}; {AGAIN}"
