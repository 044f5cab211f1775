"""The REST API: TF Serving's paths, on Starlette and Uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Sequence
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tensorflow_serving.apis import get_model_metadata_pb2
from uvicorn.protocols.http.h11_impl import H11Protocol

from keras_negrec.serving.embedded import metrics
from keras_negrec.serving.embedded.json_tensors import (
    read_predict_request,
    write_predict_response,
)
from keras_negrec.serving.embedded.service import Service, answer_to, as_json
from keras_negrec.serving.embedded.serving_error import ServingError, invalid

_MODEL = r"(?i)/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + ":predict")
_STATUS = re.compile(_MODEL + "(?:/(metadata))?")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class RestApi:
    """Answers HTTP requests; `routes` are those of the application, further ones first."""

    def __init__(self, service: Service, routes: Sequence[Route] = ()):
        self._service, self._limits = service, service.limits
        self._bytes = 0
        self.routes = [
            *routes,
            *(Route(path, self._metrics) for path in metrics.PATHS),
            Route("/{path:path}", self._answer, methods=_METHODS),
        ]

    def server(self) -> uvicorn.Server:
        """A server that is ended by its `should_exit`, and leaves signals alone."""
        config = uvicorn.Config(
            Starlette(routes=self.routes),
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=self._limits.connections,
            timeout_keep_alive=self._limits.receive_seconds,  # type: ignore[arg-type]
            timeout_graceful_shutdown=self._limits.drain_seconds,  # type: ignore[arg-type]
        )
        return _Server(config)

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self._service.metrics.page(self._service.store.served()))

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("ascii", "replace")
        if not path.lower().startswith("/v1/"):
            return PlainTextResponse("Not Found", 404)
        try:
            if request.method == "POST" and (found := _PREDICT.fullmatch(path)):
                return _json(await self._predict(request, *_model(found)))
            if request.method == "GET" and (found := _STATUS.fullmatch(path)):
                answer = self._metadata if found[4] else self._status
                return _json(json.dumps(answer(*_model(found)), indent=1).encode())
            if request.method == "GET" and path.lower().rstrip("/") == "/v1/models":
                raise invalid("Missing model name in request.")
            raise invalid(f"Malformed request: {request.method} {path}")
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            refused = answer_to(error)
            return _json(json.dumps({"error": refused.message}).encode(), refused.http_status)

    async def _predict(self, request: Request, model: str, version: int | None) -> bytes:
        most = self._limits.request_bytes
        expected = min(int(request.headers.get("content-length", most)), most)
        if self._bytes + expected > self._limits.bytes_at_once:
            raise ServingError("UNAVAILABLE", "The server has too many large requests to answer.")
        self._bytes += expected
        try:
            body = await self._body(request)
            return await self._service.predict(
                "REST",
                model,
                version,
                len(body),
                lambda loaded: read_predict_request(body, loaded.signature),
                lambda loaded, signature, outputs, by_row: write_predict_response(outputs, by_row),
                self._limits.answer_seconds,
            )
        finally:
            self._bytes -= expected

    async def _body(self, request: Request) -> bytes:
        most = self._limits.request_bytes
        too_large = ServingError(
            "INVALID_ARGUMENT", f"A request may have at most {most} bytes.", http_status=413
        )
        if int(request.headers.get("content-length", 0)) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.receive_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise too_large
        except TimeoutError:
            raise ServingError(
                "DEADLINE_EXCEEDED", "The request did not arrive in time.", http_status=408
            ) from None
        return bytes(body)

    def _status(self, model: str, version: int | None) -> dict:
        return as_json(self._service.store.status(model, version))

    def _metadata(self, model: str, version: int | None) -> dict:
        answer = self._service.metadata(model, version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {
            "model_spec": as_json(answer.model_spec),
            "metadata": {"signature_def": as_json(signatures)},
        }


def _model(found: re.Match) -> tuple[str, int | None]:
    """The name and the version of a path."""
    if found[3]:
        raise invalid(f"Unrecognized servable version label: {unquote(found[3])}")
    version = int(found[2]) if found[2] and len(found[2]) < 20 else None
    if found[2] and (version is None or version >= 2**63):
        raise invalid(f"Failed to convert version: {found[2]} to numeric.")
    return unquote(found[1]), version


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield  # they are handled elsewhere


class _Protocol(H11Protocol):
    """Ends connections that do not send the head of a request for too long."""

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc):
        if self._silence:
            self._silence.cancel()
        super().connection_lost(exc)

    def on_response_complete(self):
        self._await_request()
        super().on_response_complete()

    def _await_request(self):
        if self._silence:
            self._silence.cancel()
        self._silence = self.loop.call_later(self.timeout_keep_alive, self._end_if_silent)

    def _end_if_silent(self):
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
