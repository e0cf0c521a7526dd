"""The HTTP server of inputs that receive: one thread, bounded bodies and times, and an answer only once the log has acknowledged.

The answer says what to do: 2xx it is in the log (or needed not be there); 400, 413, 415 it can never be read, and is set aside; 401
show the token; 408, 429, 503 send it again, after ``Retry-After`` seconds.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from collectors.inputs.listen import Intake
from collectors.inputs.live import Placed
from collectors.inputs.received import Received
from tracer.errors import Unavailable

_SECRET = frozenset(("authorization", "proxy-authorization", "cookie"))
_KEPT_OF_EXCESS = 64 * 1024
_KINDS = {
    400: "unreadable",
    401: "no token, or a wrong one",
    408: "too slow",
    413: "too large",
    415: "of a kind that is not read",
}


class Refusal(Exception):  # noqa: N818  (an answer)
    """A request that is answered before it is read as anything.

    ``head``: bytes of it to set aside, None where it is to be sent again, or was never allowed.
    """

    def __init__(self, status: int, reason: str, head: bytes | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.head = head

    @property
    def kind(self) -> str:
        """For counting: one of few."""
        return _KINDS.get(self.status, self.reason)


class _Protocol(H11Protocol):
    """uvicorn bounds how long a connection idles between two requests, and not how long one takes to say what it wants."""

    patience = 20.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > 2 * self.limit_concurrency:
            transport.abort()
            return
        self._arm()

    def handle_events(self) -> None:
        super().handle_events()
        if self._deadline is not None and self.cycle is not None and not self.cycle.response_complete:
            self._deadline.cancel()
            self._deadline = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self.patience, self.transport.abort)


class WebServer:
    """Serves an application from a thread of its own."""

    def __init__(self, app: Starlette, made: socket.socket, spec: Intake, base: Path) -> None:
        patience = spec.idle / 1e6
        protocol = type("Protocol", (_Protocol,), {"patience": patience})
        files: dict[str, Any] = {}
        if spec.tls is not None:
            spec.tls.context(base)
            cert, key, ca = spec.tls.paths(base)
            files = {"ssl_certfile": str(cert), "ssl_keyfile": str(key)}
            if ca is not None:
                files |= {"ssl_ca_certs": str(ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        config = uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", access_log=False, log_config=None, log_level="critical",
            limit_concurrency=spec.max_connections + 1, timeout_keep_alive=max(1, int(patience)), server_header=False,
            h11_max_incomplete_event_size=64 * 1024, timeout_graceful_shutdown=2, **files,
        )  # fmt: skip
        self.port: int = made.getsockname()[1]
        self._server = uvicorn.Server(config)
        self._socket = made
        self._thread = threading.Thread(target=self._run, name=f"intake-{self.port}", daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise Unavailable(f"the server at port {self.port} did not start")
            time.sleep(0.005)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def close(self) -> None:
        """Answers what it can within 2 s."""
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


async def body_of(request: Request, spec: Intake, received: Received) -> bytes:
    """A request's body, decompressed; its room in the queue is free again when this returns. Raises `Refusal`."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Refusal(415, f"content-encoding {encoding[:40]!r} is not read; gzip and deflate are")
    reserved = 0
    body = bytearray()
    try:
        async with asyncio.timeout(spec.idle / 1e6):
            async for piece in _decompressed(request.stream(), encoding, spec.max_body, body):
                if not received.reserve(len(piece)):
                    raise Refusal(503, "the collector is full")
                reserved += len(piece)
                body += piece
    except TimeoutError:
        raise Refusal(408, "the request took too long to come") from None
    except ClientDisconnect:
        raise Refusal(400, "the sender went away") from None
    finally:
        received.free(reserved)
    return bytes(body)


async def _decompressed(
    stream: AsyncIterator[bytes], encoding: str, most: int, body: bytearray
) -> AsyncIterator[bytes]:
    """Pieces, never more than ``most`` bytes of them and one piece. Raises `Refusal`.

    A bomb is found while it is being unpacked: no more than a piece of it is ever in memory.
    """
    inflate = None if encoding == "identity" else zlib.decompressobj(47)
    async for sent in stream:
        data = sent
        while data:
            if inflate is None:
                piece, data = data, b""
            else:
                try:
                    if inflate.eof:
                        inflate = zlib.decompressobj(47)
                    piece = inflate.decompress(data, 1 << 18)
                except zlib.error as error:
                    raise Refusal(400, f"not {encoding}: {str(error)[:100]}", bytes(sent)) from None
                data = inflate.unconsumed_tail or inflate.unused_data
            if len(body) + len(piece) > most:
                raise Refusal(413, f"more than {most} bytes", bytes(body[:_KEPT_OF_EXCESS]) + piece[:_KEPT_OF_EXCESS])
            if piece:
                yield piece
    while inflate is not None and not inflate.eof:
        piece = inflate.decompress(b"", 1 << 18)
        if not piece:
            raise Refusal(400, f"{encoding} that does not end", bytes(body))
        if len(body) + len(piece) > most:
            raise Refusal(413, f"more than {most} bytes", bytes(body[:_KEPT_OF_EXCESS]))
        yield piece


def headers_of(request: Request) -> dict[str, str]:
    """Lower case; UTF-8 where they are, Latin-1 otherwise; without those that carry secrets."""
    found: dict[str, str] = {}
    for name, value in request.headers.raw:
        key = name.decode("latin-1").lower()
        if key not in _SECRET:
            try:
                found[key] = value.decode()
            except UnicodeDecodeError:
                found[key] = value.decode("latin-1")
    return found


async def accepted(received: Received, items: list[Placed], size: int, name: str, patience: float) -> None:
    """Return once the log has acknowledged them. Raises `Refusal` where there is no room, or it takes too long."""
    if not items:
        received.heard()
        return
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Exception | None] = loop.create_future()

    def answer(error: Exception | None) -> None:
        try:
            loop.call_soon_threadsafe(_set, done, error)
        except RuntimeError:
            return  # the server has ended, and its senders with it

    if not received.offer(items, size, name, answer):
        raise Refusal(503, "the collector is full")
    try:
        error = await asyncio.wait_for(done, patience)
    except TimeoutError:
        raise Refusal(503, "the log has not acknowledged it yet") from None
    if error is not None:
        raise Refusal(503, "the log did not take it")


def _set(done: asyncio.Future[Exception | None], error: Exception | None) -> None:
    if not done.done():
        done.set_result(error)
