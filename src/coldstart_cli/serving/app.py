"""The four addresses: POST /predict, GET /health, GET /openapi.json and the page at /."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.serving.answering import answered
from coldstart_cli.serving.batching import Batcher
from coldstart_cli.serving.description import document
from coldstart_cli.serving.guard import Guard, Rules, refusal_of
from coldstart_cli.serving.page import page
from coldstart_cli.serving.plan import ServePlan
from coldstart_cli.serving.reading import Asked, Refused, of_files, of_json


def app(
    name: str, bundle: Bundle, plan: ServePlan, rules: Rules, told: Callable[[str], None] | None
) -> ASGIApp:
    """The application of one bundle.

    Args:
        name: of the bundle, as people call it.
        told: hears a line of each request.
    """
    batcher = Batcher(lambda asked: answered(bundle, asked, plan.batch_size), plan.batch_size, plan.waiting)
    described = document(name, bundle.card, plan, token=rules.token is not None)
    recipe = bundle.card.build.recipe

    async def predict(request: Request) -> Response:
        with batcher.place():
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "application/json":
                asked = of_json(await _body(request, plan), recipe, plan)
            elif kind == "multipart/form-data":
                asked = await _form(request, bundle, plan)
            else:
                raise Refused(415, f"Content-Type: {kind or 'none'} is not read; send application/json")
            return JSONResponse(await batcher.ask(asked))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def openapi(request: Request) -> Response:
        return JSONResponse(described)

    async def shown(request: Request) -> Response:
        text, policy = page()
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    routes = [
        Route("/predict", predict, methods=["POST"]),
        Route("/health", health),
        Route("/openapi.json", openapi),
        Route("/", shown),
    ]
    handlers: dict[Any, Any] = {HTTPException: _unknown, Refused: _refused, ClientDisconnect: _gone}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), rules, told)


async def _body(request: Request, plan: ServePlan) -> bytes:
    """The whole body.

    Raises:
        Refused: where it is too large, or does not come in time.
    """
    too_large = f"body: has more than {plan.max_mb:g} MB; send fewer inputs, or serve with a larger max_mb="
    if int(request.headers.get("content-length", "0")) > plan.max_bytes:
        raise Refused(413, too_large)
    body = bytearray()
    try:
        async with asyncio.timeout(plan.body_seconds):
            async for part in request.stream():
                body += part
                if len(body) > plan.max_bytes:
                    raise Refused(413, too_large)
    except TimeoutError as error:
        line = f"body: has not come within {plan.body_seconds:g} s; send it again"
        raise Refused(408, line, {"Connection": "close"}) from error
    return bytes(body)


async def _form(request: Request, bundle: Bundle, plan: ServePlan) -> Asked:
    """The parts of a form, which stay in memory; what their files are called is not looked at."""
    body = await _body(request, plan)

    async def whole() -> Any:
        yield body

    parser = MultiPartParser(
        request.headers,
        whole(),
        max_files=plan.max_inputs,
        max_fields=8,
        max_part_size=plan.max_bytes,
    )
    parser.spool_max_size = plan.max_bytes  # else a larger file goes to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, "body: is no form of files; send multipart/form-data") from error
    try:
        files = [await part.read() for part in form.getlist("inputs") if isinstance(part, UploadFile)]
    finally:
        await form.close()
    fields = {key: part for key, part in form.multi_items() if isinstance(part, str)}
    return of_files(files, fields, bundle.card.build.recipe, plan)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal_of(error)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = "POST /predict, GET /health, GET /openapi.json, GET /"
    what = "method: is another" if error.status_code == 405 else "path: there is none of that name"
    return refusal_of(Refused(error.status_code, f"{what}; use {known}", error.headers))


async def _gone(request: Request, error: Exception) -> Response:
    return refusal_of(Refused(400, "body: it ended early; send it again"))
