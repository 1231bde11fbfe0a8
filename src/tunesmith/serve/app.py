"""The routes: OpenAI's interface over the pipeline, the list of models, aliases, metrics."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import HTTPException
from starlette.exceptions import HTTPException as StarletteHTTPException

from tunesmith.core.errors import TunesmithError
from tunesmith.serve.ask import Ask, Limits, read_chat, read_completion, read_embedding
from tunesmith.serve.errors import ApiError, as_api_error, bad_field, unexpected
from tunesmith.serve.gate import Receive, Scope, Send, send_error
from tunesmith.serve.keys import check_role
from tunesmith.serve.listing import about, list_models
from tunesmith.serve.observing import Embedding, Observer
from tunesmith.serve.page.routes import add_page
from tunesmith.serve.pipeline import Answer, Call, Pipeline
from tunesmith.serve.registry import Version
from tunesmith.serve.replies import DONE, Told, chunks, event, whole

__all__ = ["make_app", "read_json"]

T = TypeVar("T")
_DEPTH = 64
_INLINE_BYTES = 20_000  # bodies above this are checked in a thread, so that others do not wait
_LIMITS = Limits()
_ID_HEADERS = ("traceparent", "x-user", "user-agent")


def make_app(pipeline: Pipeline, observer: Observer, limits: Limits = _LIMITS) -> FastAPI:
    """The application, to be put behind a `Gate`."""
    app = FastAPI(
        title="Tunesmith",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(check_role)],
    )
    registry = pipeline.registry

    async def answer(request: Request, read: Callable[[Any, Limits], Ask]) -> Response:
        body = await request.body()
        if len(body) > _INLINE_BYTES:
            ask = await asyncio.to_thread(lambda: read(read_json(body), limits))
        else:
            ask = read(read_json(body), limits)
        call = Call(ask=ask, model=ask.model, key=request.state.key, id=request.state.request_id)
        call.headers = {name: value for name in _ID_HEADERS if (value := request.headers.get(name)) is not None}
        call.trace_id = _trace_id(call.headers.get("traceparent", "")) or call.trace_id
        return _Reply(pipeline, call, observer)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await answer(request, read_chat)

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        return await answer(request, read_completion)

    @app.post("/v1/embeddings")
    async def embed(request: Request) -> Response:
        return await _embeddings(request, pipeline, observer, limits)

    @app.get("/v1/models")
    async def models() -> Response:
        return _json({"object": "list", "data": list_models(pipeline)})

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Response:
        return _json(about(name, pipeline))

    @app.put("/v1/models/{name}/aliases/{alias}")
    async def move(name: str, alias: str, request: Request) -> Response:
        body = read_json(await request.body())
        wanted = body.get("version") if isinstance(body, dict) else None
        if not isinstance(wanted, str) or body.keys() != {"version"}:
            raise bad_field("version", 'the body must be {"version": ID}')
        version = registry.resolve(f"{name}@{wanted}")
        await version.engine.prepare(version.target)  # a swap is only made to what can answer at once
        before = registry.set_alias(name, alias, version.id)
        if pipeline.moved is not None:
            await pipeline.moved(name, alias, before, version.id, f"by {request.state.key}")
        observer.log("alias", model=name, alias=alias, before=before, version=version.id, key=request.state.key)
        return _json({"model": name, "alias": alias, "from": before, "to": version.id})

    @app.get("/metrics")
    async def metrics() -> Response:
        content, kind = observer.metrics(*pipeline.load)
        return Response(content, media_type=kind)

    add_page(app)
    _add_errors(app)
    return app


async def _embeddings(request: Request, pipeline: Pipeline, observer: Observer, limits: Limits) -> Response:
    asked, texts = read_embedding(read_json(await request.body()), limits)
    if asked.dimensions is not None:
        raise bad_field("dimensions", "dimensions is not supported", code="unsupported_parameter")
    about = Embedding(id=request.state.request_id, key=request.state.key, asked=asked.model, num_texts=len(texts))
    version: Version | None = None
    tokens, status = 0, 499  # the client went away, unless we get further
    try:
        version = pipeline.registry.resolve(asked.model)
        made = await _while_there(request.receive, _embedded(pipeline, version, texts, request.state.key))
        if made is None:
            return Response(status_code=499)  # nobody hears it
        (vectors, tokens), status = made, 200
    except (ApiError, TunesmithError) as error:
        status = error.status if isinstance(error, ApiError) else as_api_error(error).status
        raise
    except Exception:
        status = 500
        raise
    finally:
        observer.embedded(about, version, tokens, status)
    packed = asked.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": at, "embedding": _packed(vector) if packed else vector}
        for at, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": version.full_name, "usage": usage})


async def _embedded(pipeline: Pipeline, version: Version, texts: list[str], key: str) -> tuple[list[list[float]], int]:
    async with pipeline.queue(version.engine).place(key):
        return await version.engine.embed(version.target, texts)


def read_json(body: bytes) -> Any:
    """The JSON of a body. ApiError 400 for what is not JSON, or is nested too deep."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_field("body", f"the body is not JSON: {str(error)[:200]}", code="invalid_json") from error
    level, depth = [found], 0
    while level:
        depth += 1
        if depth > _DEPTH:
            raise bad_field("body", f"the body is nested deeper than {_DEPTH}", code="invalid_json")
        below = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [child for children in below for child in children if isinstance(child, dict | list)]
    return found


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def known(_: Request, error: ApiError) -> Response:
        return Response(orjson.dumps(error.body()), error.status, headers=error.headers(), media_type="application/json")

    @app.exception_handler(TunesmithError)
    async def ours(request: Request, error: TunesmithError) -> Response:
        return await known(request, as_api_error(error))

    @app.exception_handler(Exception)
    async def rest(request: Request, error: Exception) -> Response:
        shown = await known(request, unexpected(error, str(request.state.request_id)))
        shown.headers["connection"] = "close"  # the server closes it after such a fault; a client must not send on it again
        return shown

    @app.exception_handler(StarletteHTTPException)
    @app.exception_handler(HTTPException)
    async def routed(request: Request, error: StarletteHTTPException) -> Response:
        what = f"there is no route {request.method} {request.url.path[:200]}"
        code = "method_not_allowed" if error.status_code == 405 else "route_not_found"
        return await known(request, ApiError(error.status_code, what, code=code))


class _Reply(Response):
    """Asks the pipeline and sends what comes. If the client goes away, streaming or not, the engine's work is given up."""

    def __init__(self, pipeline: Pipeline, call: Call, observer: Observer) -> None:
        self._pipeline, self._call, self._observer = pipeline, call, observer
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _while_there(receive, self._work(send))

    async def _work(self, send: Send) -> None:
        call, told = self._call, Told()
        answer: Answer | None = None
        status = 499  # the client went away, unless we get further
        try:
            answer = await self._pipeline(call)
            if call.ask.stream:
                await _start(send, b"text/event-stream", answer.headers)
                status = await self._stream(answer, told, send)
            else:
                body = orjson.dumps(await whole(call, answer, told))
                await _start(send, b"application/json", answer.headers, size=len(body))
                await send({"type": "http.response.body", "body": body})
                status = 200
        except (ApiError, TunesmithError) as error:
            shown = error if isinstance(error, ApiError) else as_api_error(error)
            status = shown.status
            await send_error(shown, send)
        except Exception as error:  # noqa: BLE001 (logged; the client hears that it is our fault)
            status = 500
            await send_error(unexpected(error, call.id), send)
        finally:
            if answer is not None:
                await answer.close()
            self._observer.done(call, answer.version if answer is not None else None, told, status)

    async def _stream(self, answer: Answer, told: Told, send: Send) -> int:
        """An error after the first event is one more event: a status of its own can no longer be sent."""
        status = 200
        shown: ApiError | None = None
        try:
            async for chunk in chunks(self._call, answer, told):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (ApiError, TunesmithError) as error:
            shown = error if isinstance(error, ApiError) else as_api_error(error)
        except Exception as error:  # noqa: BLE001 (logged; the client hears that it is our fault)
            shown = unexpected(error, self._call.id)
        if shown is not None:
            status = shown.status
            await send({"type": "http.response.body", "body": event(shown.body()), "more_body": True})
        await send({"type": "http.response.body", "body": DONE, "more_body": False})
        return status


async def _while_there(receive: Receive, doing: Coroutine[Any, Any, T]) -> T | None:
    """What comes of it; None if the client went away before: then it is given up."""
    work = asyncio.ensure_future(doing)
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
        await asyncio.wait({work})
    return None if work.cancelled() else work.result()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _start(send: Send, kind: bytes, headers: dict[str, str], *, size: int | None = None) -> None:
    sent = [(b"content-type", kind), (b"cache-control", b"no-cache")]
    sent += [(name.encode(), value.encode()) for name, value in headers.items()]
    sent += [(b"content-length", str(size).encode())] if size is not None else [(b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": sent})


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _trace_id(traceparent: str) -> str:
    """The trace id of a W3C traceparent header; empty if it is none."""
    parts = traceparent.split("-")
    whole_id = len(parts) >= 4 and len(parts[1]) == 32 and set(parts[1]) <= set("0123456789abcdef") and set(parts[1]) != {"0"}
    return parts[1] if whole_id else ""
