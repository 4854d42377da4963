"""`coldstart serve`: a bundle behind HTTP."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.config.key import Key
from coldstart_cli.errors import RequestError
from coldstart_cli.package import getting
from coldstart_cli.processes import streams


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "serve",
        run,
        "answer over HTTP by a bundle, with a page to try it",
        'POST /predict takes {"inputs": [...]}; /openapi.json describes it; / is a page. Ctrl-C or SIGTERM '
        "ends it once what is running is answered. Needs the extra serve.",
        examples=(
            "coldstart serve bundle=intents",
            "COLDSTART_TOKEN=$(openssl rand -hex 16) coldstart serve bundle=intents host=0.0.0.0 port=8080",
            "curl localhost:8000/predict -H 'Content-Type: application/json' -d "
            '\'{"inputs": ["My card was stolen"]}\'',
        ),
    )
    parser.key_values(Words(own=keys, plans=("serve",), composes=False))
    parser.flag("-q", "--quiet", action="store_true", help="print no line for each request")


def keys() -> tuple[Key, ...]:
    """The words of the command that no file holds."""
    return (
        Key(
            "token",
            "text",
            "",
            "what requests must carry (Authorization: Bearer TOKEN); rather set COLDSTART_TOKEN",
        ),
    )


def run(arguments: Namespace) -> int:
    """Serves until it is told to stop.

    Raises:
        RequestError: for what cannot be served.
    """
    streams.set_up()
    missing = [name for name in ("starlette", "uvicorn", "python_multipart") if find_spec(name) is None]
    if missing:
        raise RequestError(f"serve: {missing[0]} is not installed; {getting('serve')} (E50)")
    from coldstart_cli.config import composition
    from coldstart_cli.config.typed import quoted
    from coldstart_cli.serving.plan import plan_of

    # A token is no value of a config, and must not stand in a message about one.
    tokens = [word.partition("=")[2] for word in arguments.overrides if word.startswith("token=")]
    words = [word for word in arguments.overrides if not word.startswith("token=")]
    plan = plan_of(composition.values_of("serve", quoted(words, sweeps=False)))
    from coldstart_cli.serving import server

    token = (tokens[-1] if tokens else os.environ.get(server.TOKEN)) or None
    server.serve(
        plan,
        token,
        lambda where: _tell(f"{where} answers by {plan.bundle}; Ctrl-C stops it"),
        None if arguments.quiet else _log,
    )
    return 0


def _tell(line: str) -> None:
    print(line, flush=True)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
