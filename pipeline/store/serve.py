"""A chDB folder over ClickHouse's HTTP interface: read and write, on loopback, behind a token.

Good for clickhouse-connect, curl and everything else that speaks HTTP with a FORMAT. GET reads only. Sessions, external tables,
the native protocol and its compressed blocks are not there. One process serves a folder; ``served.json`` says where.
"""

from __future__ import annotations

import atexit
import hmac
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pipeline.errors import Unavailable
from pipeline.store.engine import Answer, Engine, Refused
from pipeline.store.folder import ID_HEADER, Folder, Served
from pipeline.store.statement import MAX_BODY, BadRequest, Statement, parse, secret_of

HOST = "127.0.0.1"
_AT_ONCE = 8
# Bytes of a body that is read where it arrives; to read a larger one would keep others waiting.
_SMALL = 1 << 16
_STATUS = {60: 404, 81: 404, 516: 403, 48: 501, 159: 408, 241: 500, 1002: 500}
_TYPES = {
    "JSON": "application/json", "JSONCompact": "application/json", "JSONEachRow": "application/x-ndjson",
    "CSV": "text/csv; charset=UTF-8", "CSVWithNames": "text/csv; charset=UTF-8", "Native": "application/octet-stream",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8", "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream", "Arrow": "application/octet-stream",
}  # fmt: skip


def application(engine: Engine, token: str, id_: str) -> Starlette:
    """The interface as ASGI. ``id_``: what /ping tells."""
    limits: list[anyio.CapacityLimiter] = []  # made on the first request: it belongs to the event loop

    async def ask(request: Request) -> Response:
        try:
            statement = await _statement(request, token)
            if not statement.sql.strip():
                return PlainTextResponse("Ok.\n")
            if not limits:
                limits.append(anyio.CapacityLimiter(_AT_ONCE))
            answer = await anyio.to_thread.run_sync(engine.run, statement, limiter=limits[0])
        except (BadRequest, Refused) as error:
            return _refusal(error.code, str(error))
        return _answer(answer, statement, engine.timezone, request.query_params.get("query_id", ""))

    async def ping(request: Request) -> Response:  # noqa: ARG001
        return PlainTextResponse("Ok.\n", headers={ID_HEADER: id_})

    return Starlette(
        routes=[Route("/", ask, methods=["GET", "POST"]), Route("/ping", ping), Route("/replicas_status", ping)]
    )


async def _statement(request: Request, token: str) -> Statement:
    query, headers = dict(request.query_params), {name.lower(): value for name, value in request.headers.items()}
    if not hmac.compare_digest(secret_of(query, headers).encode(), token.encode()):
        raise BadRequest(
            516, "Authentication failed: the password is the token in the store's folder (AUTHENTICATION_FAILED)"
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadRequest(307, f"a request is at most {MAX_BODY} bytes")
    read_only = request.method != "POST"
    if len(body) < _SMALL and not headers.get("content-encoding"):
        return parse(query, headers, bytes(body), read_only=read_only)
    return await anyio.to_thread.run_sync(lambda: parse(query, headers, bytes(body), read_only=read_only))


def _answer(answer: Answer, statement: Statement, timezone: str, query_id: str) -> Response:
    headers = {
        "X-ClickHouse-Summary": answer.summary,
        "X-ClickHouse-Query-Id": query_id if query_id.isascii() and query_id.isprintable() else "",
        "X-ClickHouse-Timezone": timezone,
        "X-ClickHouse-Server-Display-Name": "lastseen",
    }
    if statement.answer_format:
        headers["X-ClickHouse-Format"] = statement.answer_format
    kind = _TYPES.get(statement.answer_format, "text/plain; charset=UTF-8")
    if answer.whole:
        return Response(b"".join(answer.chunks), headers=headers, media_type=kind)
    # An error after the first block breaks the connection off: the status is sent by then.
    return StreamingResponse(iterate_in_threadpool(answer.chunks), headers=headers, media_type=kind)


def _refusal(code: int, reason: str) -> Response:
    text = reason if reason.startswith("Code: ") else f"Code: {code}. DB::Exception: {reason}"
    headers = {"X-ClickHouse-Exception-Code": str(code), "X-ClickHouse-Server-Display-Name": "lastseen"}
    return PlainTextResponse(text + "\n", status_code=_STATUS.get(code, 400), headers=headers)


class StoreServer:
    """A folder being served by this process, from a thread; ``url`` is where."""

    def __init__(self, data_dir: Path, port: int = 0, env: Mapping[str, str] = os.environ):
        self._folder = Folder(data_dir)
        self._folder.make()
        if not self._folder.lock():
            raise Unavailable(f"the store in {self._folder.path} is held by {self._folder.holder()}")
        try:
            self._socket = _listen(port)
            self._engine = Engine(self._folder.engine)
        except BaseException:
            self._folder.unlock()
            raise
        host, bound = self._socket.getsockname()[:2]
        self.url = f"http://{host}:{bound}"
        self._served = Served(self.url, os.getpid(), time.time_ns() // 1000, secrets.token_hex(8))
        app = application(self._engine, self._folder.token(env), self._served.id)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, http="h11", lifespan="off", access_log=False, log_level="error", log_config=None,
                h11_max_incomplete_event_size=1 << 20, timeout_graceful_shutdown=5,
            )
        )  # fmt: skip
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="store-server", daemon=True)

    def start(self) -> StoreServer:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                self.stop()
                raise Unavailable(f"the store's server did not start at {self.url}")
            time.sleep(0.005)
        self._folder.announce(self._served)
        # chDB ends the process with a segmentation fault where a connection is left open at exit.
        atexit.register(self.stop)
        return self

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Finish what is under way (5 s at most), and give the folder back. At exit it is called by itself."""
        if self._stopped:
            return
        self._stopped = True
        atexit.unregister(self.stop)
        self._folder.withdraw(self._served)
        self._server.should_exit = True
        self._thread.join()
        self._engine.close()
        self._folder.unlock()


def serve(data_dir: Path, port: int = 0, env: Mapping[str, str] = os.environ) -> StoreServer:
    """Serve the folder from a thread of this process, until ``stop``. Raises ``Unavailable`` where another process holds it."""
    return StoreServer(data_dir, port, env).start()


def serve_forever(
    data_dir: Path, port: int = 0, env: Mapping[str, str] = os.environ, ready: Callable[[str], None] = lambda _: None
) -> None:
    """``lastseen store``: serve until SIGTERM or SIGINT. ``ready`` is called with the URL. From the main thread only."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    server = serve(data_dir, port, env)
    try:
        ready(server.url)
        while not done.wait(1):
            pass
    finally:
        server.stop()


def _listen(port: int) -> socket.socket:
    # asyncio switches Nagle's delay (40 ms an answer) off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise Unavailable(f"cannot listen on {HOST}:{port}: {error.strerror}") from None
    return listener
