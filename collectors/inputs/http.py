"""HTTP intake: whatever is posted, to any path, is a message of the collector's format: CloudEvents in each of their modes, JSON,
lists and lines of it, our own events.

The answer comes once the log has acknowledged: 200 with how many records were taken and which could not be read (those are set
aside), 400 where none could. A sender that hears 408, 503 or nothing sends again, and its records are the same: by what they say of
themselves, by the header ``Idempotency-Key``, else by their content. So two records that are equal in every byte are one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collectors.formats.contract import Item
from collectors.inputs.listen import Intake, Port, allowed, bound
from collectors.inputs.live import Context, LiveInput, Parcel
from collectors.inputs.received import Received, event_identity, identity_of, places
from collectors.inputs.record import Unreadable
from collectors.inputs.web import Refusal, WebServer, accepted, body_of, headers_of

_TOLD = 20
"""So many unreadable records are named in an answer."""
_DECODING = 2


class HttpInput(Intake):
    """``port``: 0 for any that is free."""

    port: Port = 8480

    def open(self, context: Context) -> LiveInput:
        return HttpLive(self, context)


class HttpLive:
    """Attributes: ``port``; ``counts``, ``notes``: see `Received`."""

    def __init__(self, spec: HttpInput, context: Context) -> None:
        self._spec = spec
        self._format = context.format
        self._token = spec.token(context.env)
        self._received = Received(context, max_waiting=spec.max_waiting, max_held=spec.max_held, expect=spec.expect)
        self.counts = self._received.counts
        self.notes = self._received.notes
        self._decoding = asyncio.Semaphore(_DECODING)
        routes = [Route("/{path:path}", self._post, methods=["POST", "PUT"]), Route("/{path:path}", self._alive)]
        self._web = WebServer(Starlette(routes=routes), bound(spec.host, spec.port), spec, context.base)
        self.port = self._web.port
        self.name = f"http at {spec.host}:{self.port}"

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
        self._web.close()

    async def _alive(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"ready": self._received.has_room()})

    async def _post(self, request: Request) -> Response:
        try:
            return await self._take(request)
        except Refusal as refusal:
            return await self._refuse(request, refusal)

    async def _take(self, request: Request) -> Response:
        if not allowed(self._token, request.headers.get("authorization")):
            raise Refusal(401, "show the token as Authorization: Bearer")
        body = await body_of(request, self._spec, self._received)
        headers = headers_of(request)
        async with self._decoding:
            items = await asyncio.to_thread(self._format.message, body, headers)
        await self._accepted(items, len(body), headers, request)
        return _answer(items)

    async def _accepted(self, items: list[Item], size: int, headers: Mapping[str, str], request: Request) -> None:
        identity = identity_of(self._format) or event_identity
        placed = places(items, identity, headers.get("idempotency-key", ""))
        name = f"{request.client.host}:{request.client.port}" if request.client else "somebody"
        await accepted(self._received, placed, size, name, self._spec.patience / 1e6)

    async def _refuse(self, request: Request, refusal: Refusal) -> Response:
        """Answer, and set aside first what will not be sent again."""
        if refusal.head is not None:
            try:
                await self._accepted([Unreadable(1, refusal.reason, refusal.head)], len(refusal.head), {}, request)
            except Refusal as full:
                refusal = full
        self._received.refused(refusal.kind)
        headers = {"Retry-After": str(self._spec.retry_after // 1_000_000)} if refusal.status in (408, 503) else {}
        if refusal.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": refusal.reason}, status_code=refusal.status, headers=headers)


def _answer(items: list[Item]) -> Response:
    unreadable = [item for item in items if isinstance(item, Unreadable)]
    told: dict[str, Any] = {"accepted": len(items) - len(unreadable)}
    if unreadable:
        told["unreadable"] = len(unreadable)
        told["reasons"] = [{"line": item.line, "reason": item.reason} for item in unreadable[:_TOLD]]
    return JSONResponse(told, status_code=400 if unreadable and not told["accepted"] else 200)
