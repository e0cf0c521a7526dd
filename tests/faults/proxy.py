"""A store's HTTP interface that misbehaves: between the workers and a served store."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_INSERT = re.compile(rb"\s*INSERT\s+INTO\s+(?:TABLE\s+)?(?:`?\w+`?\.)?`?(\w+)`?", re.IGNORECASE)


class Refuse(NamedTuple):
    """Answer with ClickHouse's number and text, and do nothing."""

    code: int
    text: str


class Delay(NamedTuple):
    """Do it, seconds later."""

    seconds: float


class Deaf(NamedTuple):
    """Do it, and break the connection off instead of answering: it timed out, and succeeded."""


class Half(NamedTuple):
    """Read half of what is sent, then call ``then``; the other half never arrives."""

    then: Callable[[], None]


Fault = Refuse | Delay | Deaf | Half


class Proxy:
    """``fault``: table to be inserted into ("" for what is no insert) to what happens to it; None lets it pass.

    ``refused``, ``passed``: how often, by table.
    """

    def __init__(self, upstream: str):
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "", parts.port or 0)
        self.fault: Callable[[str], Fault | None] = lambda _: None
        self.refused: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._pass_on(b"", "", None)

    def do_POST(self) -> None:
        body, table, fault = b"", "", None
        with contextlib.suppress(ConnectionError, ValueError):
            for number, chunk in enumerate(self._chunks()):
                body += chunk
                if number == 0:
                    table = _table(self.path, body)
                    fault = self.owner.fault(table)
                    if isinstance(fault, Half):
                        self._send_half(body, table, fault)
                        return
            self._pass_on(body, table, fault)

    def _chunks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        elif length := int(self.headers.get("Content-Length") or 0):
            first = length // 2
            yield self.rfile.read(first)
            yield self.rfile.read(length - first)

    def _send_half(self, body: bytes, table: str, half: Half) -> None:
        """Upstream hears the beginning of the request, and then nothing any more."""
        self.owner.refused[table] += 1
        with contextlib.closing(socket.create_connection(self.owner.upstream)) as up:
            head = f"POST {self.path} HTTP/1.1\r\nHost: store\r\nContent-Length: {2 * len(body) + 2}\r\n"
            kept = "".join(f"{name}: {value}\r\n" for name, value in self._kept().items())
            up.sendall((head + kept + "\r\n").encode("latin-1") + body)
            half.then()
        self.close_connection = True
        self.connection.close()

    def _kept(self) -> dict[str, str]:
        dropped = ("host", "transfer-encoding", "content-length", "connection")
        return {name: value for name, value in self.headers.items() if name.lower() not in dropped}

    def _pass_on(self, body: bytes, table: str, fault: Fault | None) -> None:
        if isinstance(fault, Refuse):
            self.owner.refused[table] += 1
            self._answer(500, {"X-ClickHouse-Exception-Code": str(fault.code)}, fault.text.encode())
            return
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
        try:
            with contextlib.closing(http.client.HTTPConnection(*self.owner.upstream, timeout=60)) as up:
                up.request(self.command, self.path, body or None, self._kept())
                answer = up.getresponse()
                status, headers, content = answer.status, dict(answer.getheaders()), answer.read()
        except OSError:
            self.close_connection = True
            return
        if isinstance(fault, Deaf):
            self.owner.refused[table] += 1
            self.close_connection = True
            return
        self.owner.passed[table] += 1
        self._answer(status, headers, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


def _table(path: str, body: bytes) -> str:
    """What is inserted into; "" for everything else."""
    found = _INSERT.match(body[:2_000]) or _INSERT.match(_query(path))
    return found[1].decode() if found else ""


def _query(path: str) -> bytes:
    from urllib.parse import parse_qs

    return parse_qs(urlsplit(path).query).get("query", [""])[0].encode()
