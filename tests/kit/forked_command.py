"""`coldstart` as a shell finds it, without the time of an import: a server imports and forks for each call.

    with forked_command(folder) as bin:
        subprocess.run(["bash", "-c", "coldstart ls | head"], env={**os.environ, "PATH": f"{bin}:..."})

The client hands the server its words, folder, environment and streams, and ends with the command's exit code.
No signal is passed on: a command that is to be stopped is started as it is installed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.kit.places import REPOSITORY

CLIENT = """\
#!{python} -ISs
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.connect({place!r})
said = {{"words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(server, [json.dumps(said).encode()], [0, 1, 2])
server.shutdown(socket.SHUT_WR)
sys.exit(int(server.recv(16) or 70))  # nothing: it was killed
"""
_MOST = 1 << 17


@contextlib.contextmanager
def forked_command(folder: Path) -> Iterator[Path]:
    """The folder of an executable `coldstart`, for as long as its server runs."""
    place = str(folder / "s")
    program = folder / "bin" / "coldstart"
    program.parent.mkdir()
    program.write_text(CLIENT.format(python=sys.executable, place=place))
    program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.kit.forked_command", place],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONSAFEPATH": ""},
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        yield program.parent
    finally:
        server.terminate()
        server.communicate()


def _serve(place: str) -> None:
    from tests.kit import processes

    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(place)
    listening.listen(64)
    processes.warm_up()
    gc.freeze()  # else each child's first collection copies all that was imported
    print("ready", flush=True)
    while True:
        client, _ = listening.accept()
        said, streams, _, _ = socket.recv_fds(client, _MOST, 3)
        while more := client.recv(_MOST):
            said += more
        if os.fork() == 0:
            code = 70
            try:
                code = _answer(json.loads(said), streams)
            except BaseException:  # a child is never to serve
                traceback.print_exc()
            client.send(str(code).encode())
            os._exit(code)  # what a server has imported takes a second to tear down
        with contextlib.suppress(ChildProcessError):  # there is none
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        client.close()
        for stream in streams:
            os.close(stream)


def _answer(said: Mapping[str, Any], streams: list[int]) -> int:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(said["environment"])
    os.chdir(said["folder"])
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", closefd=False) for number, mode in enumerate("rww")
    )
    from coldstart_cli.cli import main

    code = main(said["words"])
    for thread in threading.enumerate()[1:]:
        thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve(sys.argv[1])
