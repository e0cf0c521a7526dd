"""OTLP receiver: traces and logs, over HTTP (protobuf and JSON) and gRPC, gzip in both.

A request is answered once the log has acknowledged it, as the OpenTelemetry Collector's receivers do. Records that cannot be read
are set aside, and told as a partial success; a request of which nothing can be read is set aside and refused for good (400,
INVALID_ARGUMENT); where the queue is full, or the log away, the sender is told to come again (503 with Retry-After, UNAVAILABLE
with RetryInfo). A sender that comes again makes the same events.
"""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf import json_format
from google.rpc.code_pb2 import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAUTHENTICATED, UNAVAILABLE
from google.rpc.status_pb2 import Status
from pydantic import model_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collectors.formats.otlp import OtlpFormat
from collectors.formats.otlp_request import Signal
from collectors.inputs.listen import Intake, Port, allowed, bound
from collectors.inputs.live import Context, LiveInput, Parcel
from collectors.inputs.otlp_answers import decoded, partial, whole
from collectors.inputs.otlp_grpc import GrpcServer
from collectors.inputs.received import Received, identity_of, places
from collectors.inputs.record import Unreadable
from collectors.inputs.web import Refusal, WebServer, accepted, body_of
from schemas.errors import Invalid

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_CODES = {400: INVALID_ARGUMENT, 401: UNAUTHENTICATED, 413: RESOURCE_EXHAUSTED, 415: INVALID_ARGUMENT}
_DECODING = 2
"""Requests that are decoded at once: of 8 MiB each, a hostile one was measured at 300 MB while it lasts."""


class OtlpInput(Intake):
    """``http``, ``grpc``: ports, 0 for any that is free, null for none."""

    http: Port | None = 4318
    grpc: Port | None = 4317

    @model_validator(mode="after")
    def _listens(self) -> Any:
        if self.http is None and self.grpc is None:
            raise ValueError("listens nowhere: give http or grpc a port")
        return self

    def open(self, context: Context) -> LiveInput:
        if not isinstance(context.format, OtlpFormat):
            raise Invalid("an otlp input reads format otlp", field="format")
        return OtlpLive(self, context, context.format)


class OtlpLive:
    """Attributes: ``http``, ``grpc``: the ports at which it listens, 0 for none; ``counts``, ``notes``: see `Received`."""

    def __init__(self, spec: OtlpInput, context: Context, layout: OtlpFormat) -> None:
        self._spec = spec
        self._layout = layout
        self._token = spec.token(context.env)
        self._received = Received(context, max_waiting=spec.max_waiting, max_held=spec.max_held, expect=spec.expect)
        self.counts = self._received.counts
        self.notes = self._received.notes
        self._web: WebServer | None = None
        self._grpc: GrpcServer | None = None
        try:
            if spec.http is not None:
                self._web = WebServer(self._application(), bound(spec.host, spec.http), spec, context.base)
            if spec.grpc is not None:
                self._grpc = GrpcServer(spec, self._token, layout, self._received, context.base)
        except BaseException:
            self.close()
            raise
        self.http = self._web.port if self._web else 0
        self.grpc = self._grpc.port if self._grpc else 0
        self.name = f"otlp at {spec.host} ({', '.join(self._ports())})"

    def _ports(self) -> list[str]:
        return [f"{name} {port}" for name, port in (("http", self.http), ("grpc", self.grpc)) if port]

    def poll(self, timeout: float) -> list[Parcel]:
        return self._received.take(timeout)

    def through(self) -> int | None:
        return self._received.through()

    @property
    def finished(self) -> bool:
        """Never: there is no end to what others may send."""
        return False

    def close(self) -> None:
        self._received.close()
        if self._grpc is not None:
            self._grpc.close()
        if self._web is not None:
            self._web.close()

    def _application(self) -> Starlette:
        decoding = asyncio.Semaphore(_DECODING)

        def route(path: str, signal: Signal) -> Route:
            async def export(request: Request) -> Response:
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                kind = kind if kind in (PROTOBUF, JSON) else ""
                try:
                    return await self._export(request, signal, kind, decoding)
                except Refusal as refusal:
                    return await self._refuse(request, refusal, kind or PROTOBUF)

            return Route(path, export, methods=["POST"])

        return Starlette(routes=[route("/v1/traces", "traces"), route("/v1/logs", "logs")])

    async def _export(self, request: Request, signal: Signal, kind: str, decoding: asyncio.Semaphore) -> Response:
        if not allowed(self._token, request.headers.get("authorization")):
            raise Refusal(401, "show the token as Authorization: Bearer")
        if not kind:
            raise Refusal(415, f"content-type is {PROTOBUF} or {JSON}")
        body = await body_of(request, self._spec, self._received)
        async with decoding:
            items = await asyncio.to_thread(decoded, self._layout, body, signal, kind)
        placed = places(items, identity_of(self._layout))
        await accepted(self._received, placed, len(body), peer(request), self._spec.patience / 1e6)
        if unreadable := whole(items, body):
            raise Refusal(400, unreadable)
        return _response(200, partial(items, signal), kind)

    async def _refuse(self, request: Request, refusal: Refusal, kind: str) -> Response:
        """Answer, and set aside first what will not be sent again."""
        if refusal.head is not None:
            item = Unreadable(1, refusal.reason, refusal.head)
            try:
                room = self._received
                await accepted(room, places([item], None), len(refusal.head), peer(request), self._spec.patience / 1e6)
            except Refusal as full:
                refusal = full
        self._received.refused(refusal.kind)
        code = _CODES.get(refusal.status, UNAVAILABLE)
        response = _response(refusal.status, Status(code=code, message=refusal.reason), kind)
        if code == UNAVAILABLE:
            response.headers["Retry-After"] = str(self._spec.retry_after // 1_000_000)
        return response


def peer(request: Request) -> str:
    return f"{request.client.host}:{request.client.port}" if request.client else "somebody"


def _response(status: int, message: Any, kind: str) -> Response:
    """``message``: of protobuf."""
    to_json: Any = json_format.MessageToJson
    told = to_json(message, indent=None).encode() if kind == JSON else message.SerializeToString()
    return Response(told, status_code=status, media_type=kind)
