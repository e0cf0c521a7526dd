"""Syslog receiver: TCP with counted octets or line ends, TLS, and UDP.

Syslog acknowledges nothing. Over TCP we read no further while the queue is full, so that a sender that cares waits or spools; what
it had handed to the network when either side stopped is gone, and no one can tell how much. Over UDP what finds no room is dropped
and counted, as is what the kernel dropped before we saw it. A message that is sent again is another one: nothing in it says that it
is not. Where octets are not counted, a message ends with its line.

So this input vouches only where its file says for whom. Then a sender over TCP that went away holds ``through`` where it was until
it is back, or for ``gone_after`` while others are there; and where nothing but TCP is listened to, ``through`` stands while nobody
is connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
import uuid
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import Field, model_validator

from collectors.collector import Duration
from collectors.formats.contract import Format, Item
from collectors.formats.syslog import PEER, RECEIVED
from collectors.inputs.listen import Listening, Port, bound
from collectors.inputs.live import Context, LiveInput, Parcel, Placed
from collectors.inputs.received import Received
from collectors.inputs.record import Unreadable
from collectors.inputs.sampled import each_line
from collectors.inputs.syslog_frames import Frame, Frames
from schemas.times import MINUTE

_READ = 64 * 1024
_BUFFER = 4 * 1024 * 1024
"""Asked of the kernel for datagrams; it gives what `net.core.rmem_max` allows."""
_BREATH = 0.25
"""Seconds after which room is asked for in any case: it may have come just before we began to wait."""
_SO_RXQ_OVFL = 40
_DATAGRAMS = 500
_REMEMBERED = 10_000
"""Senders that went away; the earliest hold ``through``, so those beyond need none of it."""


class SyslogInput(Listening):
    """``tcp``, ``udp``: ports, 0 for any that is free. ``max_message``: bytes. ``gone_after``: see the module."""

    tcp: Port | None = None
    udp: Port | None = None
    max_message: Annotated[int, Field(ge=480, le=4 * 1024 * 1024)] = 256 * 1024
    gone_after: Duration = 15 * MINUTE

    @model_validator(mode="after")
    def _listens(self) -> Any:
        if self.tcp is None and self.udp is None:
            raise ValueError("listens nowhere: give tcp or udp a port, as 5514")
        if self.tls is not None and self.tcp is None:
            raise ValueError("tls needs tcp")
        return self

    def sample(self, layout: Format, data: bytes, now: int) -> list[Item]:
        """A file as what one sender sends now."""
        frames = Frames(self.max_message)
        lines = [frame.body for frame in (*frames.feed(data), *frames.feed(b"\n"))]
        return each_line(layout, enumerate(lines, 1), {RECEIVED: str(now)})

    def open(self, context: Context) -> LiveInput:
        return SyslogLive(self, context)


class SyslogLive:
    """Attributes: ``tcp``, ``udp``: ports, 0 for none; ``counts``, ``notes``: see `Received`, and ``connections`` there are."""

    def __init__(self, spec: SyslogInput, context: Context) -> None:
        self._spec = spec
        self._format = context.format
        self._clock = context.clock
        self._received = Received(context, max_waiting=spec.max_waiting, max_held=spec.max_held)
        self.counts = self._received.counts
        self.notes = self._received.notes
        # Places of two runs, or of two collectors, must never meet: a port, a peer and a count would.
        self._run = uuid.uuid4().hex[:16]
        self._number = 0
        self._lock = threading.Lock()
        self._senders: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._alone = context.clock()
        self._tls = spec.tls.context(context.base) if spec.tls is not None else None
        self._sockets = self._bound()
        self.tcp, self.udp = (made.getsockname()[1] if made else 0 for made in self._sockets)
        ports = [f"{name} {port}" for name, port in (("tcp", self.tcp), ("udp", self.udp)) if port]
        self.name = f"syslog at {spec.host} ({', '.join(ports)})"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=f"syslog-{self.tcp or self.udp}", daemon=True)
        self._thread.start()

    def _bound(self) -> tuple[socket.socket | None, socket.socket | None]:
        spec = self._spec
        tcp = bound(spec.host, spec.tcp) if spec.tcp is not None else None
        try:
            udp = bound(spec.host, spec.udp, socket.SOCK_DGRAM) if spec.udp is not None else None
        except BaseException:
            if tcp is not None:
                tcp.close()
            raise
        return tcp, udp

    def poll(self, timeout: float) -> list[Parcel]:
        return self._received.take(timeout)

    def through(self) -> int | None:
        held = [self._received.through()]
        with self._lock:
            now = self._clock()
            held += [left for left in self._left.values() if now - left < self._spec.gone_after]
            if not self.udp and not self._senders:
                held.append(self._alone)
        return min(held)

    @property
    def finished(self) -> bool:
        """Never: there is no end to what others may send."""
        return False

    def last(self) -> list[Parcel]:
        """Listen no more, and hand out what was read: nobody will send it again."""
        parcels = self._received.last()
        self._end()
        return parcels + self._received.take(0)

    def close(self) -> None:
        self._received.close()
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        tcp, udp = self._sockets
        server: asyncio.Server | None = None
        try:
            if udp is not None:
                self._listen_udp(udp)
            if tcp is not None:
                server = self._loop.run_until_complete(
                    asyncio.start_server(
                        self._connection, sock=tcp, ssl=self._tls, limit=_READ,
                        ssl_handshake_timeout=self._spec.idle / 1e6 if self._tls else None,
                    )
                )  # fmt: skip
            self._loop.run_forever()
        finally:
            if server is not None:
                server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            if udp is not None:
                self._loop.remove_reader(udp)
                udp.close()
            self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A sender over TCP, from its first byte to its last."""
        host, port = writer.get_extra_info("peername")[:2]
        if sum(self._senders.values()) >= self._spec.max_connections:
            self._received.refused("too many connections")
            writer.transport.abort()
            return
        self._came(host)
        self._number += 1
        place, frames = f"{self._run}/{self._number}", Frames(self._spec.max_message)
        try:
            await self._read(reader, frames, place, f"{host}:{port}")
        except (OSError, ssl.SSLError):
            self._received.count("broken connections")
        finally:
            await self._hand_in(frames.close(), place, f"{host}:{port}")
            self._went(host)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, frames: Frames, place: str, peer: str) -> None:
        """Until the sender ends, or takes too long for a message that it has begun."""
        deadline: float | None = None
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    data = await reader.read(_READ)
            except TimeoutError:
                self._received.refused("a message took too long to come")
                return
            if not data:
                return
            whole = frames.feed(data)
            await self._hand_in(whole, place, peer)
            if not frames.begun:
                deadline = None
            elif whole or deadline is None:
                deadline = self._loop.time() + self._spec.idle / 1e6

    async def _hand_in(self, frames: list[Frame], place: str, peer: str) -> None:
        """Wait for room as long as it takes: meanwhile nothing is read."""
        placed = [item for frame in frames for item in self._placed(frame, f"{place}/{frame.at}", peer)]
        size = sum(len(frame.body) for frame in frames)
        while placed and not self._received.offer(placed, size, peer):
            if self._received.closed:
                self._received.refused("the collector is stopping", len(placed))
                return
            room = asyncio.Event()
            self._received.when_room(partial(self._wake, room))
            with contextlib.suppress(TimeoutError):
                try:
                    async with asyncio.timeout(_BREATH):
                        await room.wait()
                except asyncio.CancelledError:
                    self._received.offer(placed, size, peer)
                    raise

    def _wake(self, room: asyncio.Event) -> None:
        with contextlib.suppress(RuntimeError):  # the server's thread has ended
            self._loop.call_soon_threadsafe(room.set)

    def _placed(self, frame: Frame, place: str, peer: str) -> list[Placed]:
        if frame.fault:
            return [Placed(place, Unreadable(1, frame.fault, frame.body))]
        items = self._format.message(frame.body, {RECEIVED: str(self._clock()), PEER: peer})
        return [Placed(f"{place}.{number}" if number else place, item) for number, item in enumerate(items)]

    def _came(self, host: str) -> None:
        with self._lock:
            self._senders[host] = self._senders.get(host, 0) + 1
            self._left.pop(host, None)

    def _went(self, host: str) -> None:
        """With the last connection of a sender nobody knows any more what it would say."""
        with self._lock:
            self._senders[host] -= 1
            if self._senders[host]:
                return
            del self._senders[host]
            now = self._alone = self._clock()
            self._left = {name: left for name, left in self._left.items() if now - left < self._spec.gone_after}
            if len(self._left) < _REMEMBERED:
                self._left[host] = now
        self._received.count("gone", note="a sender went away, {} so far: what it would have said is not known")

    def _listen_udp(self, udp: socket.socket) -> None:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        with contextlib.suppress(OSError):
            udp.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        self._loop.add_reader(udp, self._datagrams(udp))

    def _datagrams(self, udp: socket.socket) -> Callable[[], None]:
        """Reads what has come, as one parcel."""
        lost_before = 0

        def read() -> None:
            nonlocal lost_before
            placed: list[Placed] = []
            size = count = 0
            for _ in range(_DATAGRAMS):
                try:
                    body, extra, _, address = udp.recvmsg(65_535, socket.CMSG_SPACE(4))
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:
                    self._received.count("broken datagrams")
                    continue
                lost = max([lost_before, *_lost(extra)])
                self._dropped(lost - lost_before)
                lost_before = lost
                self._number += 1
                placed += self._placed(Frame(0, body), f"{self._run}/{self._number}", f"{address[0]}:{address[1]}")
                size, count = size + len(body), count + 1
            if placed and not self._received.offer(placed, size, f"udp {self.udp}"):
                self._dropped(count)

        return read

    def _dropped(self, count: int) -> None:
        """Datagrams that are gone: for want of room here, or in the kernel before."""
        if count:
            self._received.count("dropped", count, "dropped {} datagrams so far: there was no room for them")
            self._received.blocked()


def _lost(extra: list[tuple[int, int, bytes]]) -> list[int]:
    """Datagrams that the kernel dropped since the socket was made, where it says so."""
    kind = (socket.SOL_SOCKET, _SO_RXQ_OVFL)
    return [int.from_bytes(data[:4], sys.byteorder) for level, type_, data in extra if (level, type_) == kind]
