"""The gRPC side of the OTLP receiver.

Bodies come as bytes, since ``collectors.formats.otlp`` reads them, and as a stream of one: a thread that waits for a message that
never comes can then be freed. gRPC itself bounds what a message may become when it is decompressed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc as untyped
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from collectors.formats.otlp import OtlpFormat
from collectors.formats.otlp_request import Signal
from collectors.inputs.listen import allowed, bound
from collectors.inputs.otlp_answers import decoded, partial, whole
from collectors.inputs.received import Received, identity_of, places
from tracer.errors import Unavailable

if TYPE_CHECKING:
    from collectors.inputs.otlp import OtlpInput

# Neither gRPC nor what protobuf generates has types.
grpc: Any = untyped
_any: Any = any_pb2
_duration: Any = duration_pb2
_details: Any = error_details_pb2
_status: Any = status_pb2
_SERVICES: tuple[tuple[str, Signal], ...] = (
    ("opentelemetry.proto.collector.trace.v1.TraceService", "traces"),
    ("opentelemetry.proto.collector.logs.v1.LogsService", "logs"),
)
_SPARE = 8
"""Threads beyond the requests that may wait: they refuse the others at once."""


class GrpcServer:
    """Serves both services. Raises ``Unavailable`` where it cannot listen, ``Invalid`` for certificates that are none."""

    def __init__(self, spec: OtlpInput, token: str, layout: OtlpFormat, received: Received, base: Path) -> None:
        self._spec = spec
        self._token = token
        self._layout = layout
        self._received = received
        self._decoding = threading.Semaphore(2)
        self._watch = _Watch(spec.idle / 1e6)
        threads = min(spec.max_waiting + _SPARE, 256)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="otlp-grpc"),
            maximum_concurrent_rpcs=max(1024, threads),
            options=[
                ("grpc.max_receive_message_length", spec.max_body),
                ("grpc.max_concurrent_streams", 100),
                ("grpc.so_reuseport", 0),
                ("grpc.server_handshake_timeout_ms", min(spec.idle // 1000, 20_000)),
                ("grpc.max_connection_idle_ms", 15 * 60_000),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
        )
        for service, signal in _SERVICES:
            method = grpc.stream_unary_rpc_method_handler(self._handler(signal))
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
        try:
            self.port = self._bind(base)
        except BaseException:
            self._watch.close()
            raise
        self._server.start()

    def _bind(self, base: Path) -> int:
        spec, host = self._spec, self._spec.host
        if spec.grpc:
            bound(host, spec.grpc).close()  # gRPC would tell the terminal, in its own words, that a port is taken
        address = f"[{host}]:{spec.grpc}" if ":" in host else f"{host}:{spec.grpc}"
        try:
            if spec.tls is None:
                return int(self._server.add_insecure_port(address))
            spec.tls.context(base)
            cert, key, ca = spec.tls.paths(base)
            credentials = grpc.ssl_server_credentials(
                [(key.read_bytes(), cert.read_bytes())], ca.read_bytes() if ca else None, ca is not None
            )
            return int(self._server.add_secure_port(address, credentials))
        except RuntimeError:
            raise Unavailable(f"cannot listen at {address}: it is taken, or not this machine's") from None

    def close(self) -> None:
        self._server.stop(1).wait(5)
        self._watch.close()

    def _handler(self, signal: Signal) -> Any:
        def export(messages: Any, context: Any) -> bytes:
            shown = dict(context.invocation_metadata()).get("authorization")
            if not allowed(self._token, shown if isinstance(shown, str) else None):
                self._received.refused("no token, or a wrong one")
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "show the token as authorization: Bearer")
            with self._watch.over(context):
                body: bytes | None = next(messages, None)
            if body is None:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call without a message")
            return self._export(body or b"", signal, context)

        return export

    def _export(self, body: bytes, signal: Signal, context: Any) -> bytes:
        if not self._received.has_room():
            self._received.blocked()
            self._come_again(context, "the collector is full")
        with self._decoding:
            items = decoded(self._layout, body, signal)
        done = threading.Event()
        outcome: list[Exception | None] = []

        def answer(error: Exception | None) -> None:
            outcome.append(error)
            done.set()

        self._received.heard()
        placed = places(items, identity_of(self._layout))
        if placed:
            if not self._received.offer(placed, len(body), context.peer(), answer):
                self._come_again(context, "the collector is full")
            if not done.wait(self._spec.patience / 1e6):
                self._come_again(context, "the log has not acknowledged it yet")
            if outcome[0] is not None:
                self._come_again(context, "the log did not take it")
        if unreadable := whole(items, body):
            self._received.refused("unreadable")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, unreadable)
        told: bytes = partial(items, signal).SerializeToString()
        return told

    def _come_again(self, context: Any, reason: str) -> None:
        """UNAVAILABLE with when: in the rich status, and as the Python SDK reads it, in a trailer of its own."""
        self._received.refused(reason)
        wait = _details.RetryInfo(retry_delay=_duration.Duration(seconds=self._spec.retry_after // 1_000_000))
        detail = _any.Any()
        detail.Pack(wait)
        status = _status.Status(code=code_pb2.UNAVAILABLE, message=reason, details=[detail])
        context.set_trailing_metadata((
            ("grpc-status-details-bin", status.SerializeToString()),
            ("google.rpc.retryinfo-bin", wait.SerializeToString()),
        ))  # fmt: skip
        context.abort(grpc.StatusCode.UNAVAILABLE, reason)


class _Watch:
    """Cancels calls whose message does not come in time: gRPC's threads wait for it as long as the sender likes."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="otlp-watch", daemon=True).start()

    @contextlib.contextmanager
    def over(self, context: Any) -> Any:
        with self._lock:
            self._waiting[id(context)] = time.monotonic() + self._patience, context
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[id(context)]

    def _run(self) -> None:
        while not self._stop.wait(min(1.0, self._patience)):
            now = time.monotonic()
            with self._lock:
                late = [context for deadline, context in self._waiting.values() if deadline < now]
            for context in late:
                context.cancel()

    def close(self) -> None:
        self._stop.set()
