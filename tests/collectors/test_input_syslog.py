"""Syslog over TCP, TLS and UDP, with Python's own handler and raw sockets.

Proves: both framings, torn and endless messages; no more is read while there is no room, and nothing is lost by it; datagrams
without room are counted; a sender that went away is said, and holds what is vouched for."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.formats.syslog import SyslogFormat
from collectors.inputs.record import Row
from collectors.inputs.syslog import SyslogInput, SyslogLive
from collectors.inputs.syslog_frames import Frames
from tests.collectors.receiving import Loop, context, fields, looping, reason, until
from tests.collectors.test_input_otlp import certificate


def opened(clock: Any = None, **options: Any) -> SyslogLive:
    spec = SyslogInput.model_validate({"tcp": 0, **options})
    live = spec.open(context(SyslogFormat(), clock=clock) if clock else context(SyslogFormat()))
    assert isinstance(live, SyslogLive)
    return live


@pytest.fixture
def loop() -> Iterator[Loop]:
    with looping(opened(udp=0)) as running:
        yield running


def connected(live: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", live.tcp), timeout=20)


def messages(loop: Loop, count: int) -> list[str]:
    return [fields(item)["message"] for item in loop.items(count)]


def test_pythons_own_handler(loop: Loop) -> None:
    """UDP and TCP, as it comes: a NUL behind each message, no line end."""
    live: Any = loop.live
    logger = logging.Logger("shop")
    for port, kind in ((live.udp, socket.SOCK_DGRAM), (live.tcp, socket.SOCK_STREAM)):
        logger.addHandler(logging.handlers.SysLogHandler(("127.0.0.1", port), "local3", kind))
    logger.error("shop[7]: order 5 is late: Käse")
    logger.warning("shop[7]: order 6 is late")
    for handler in logger.handlers:
        handler.close()
    items = [fields(item) for item in loop.items(4)]
    assert sorted(item["message"] for item in items) == ["order 5 is late: Käse"] * 2 + ["order 6 is late"] * 2
    assert {(item["facility"], item["app"], item["pid"]) for item in items} == {("local3", "shop", "7")}
    assert {item["severity"] for item in items} == {"error", "warning"}
    assert all(item["peer"].startswith("127.0.0.1:") for item in items)
    assert len({place for place, _ in loop.accepted}) == 4


def test_counted_octets_and_line_ends_on_one_connection(loop: Loop) -> None:
    """Cut anywhere on their way; a message over several lines stays one where octets are counted."""
    stream = b"9 <14>a\nb\n\n<14>c\r\n7 <14>\xc3\xa4x<14>d\n\n6 <14>ef6 <14>gh"
    with connected(loop.live) as sender:
        for at in range(0, len(stream), 5):
            sender.sendall(stream[at : at + 5])
    assert messages(loop, 6) == ["a\nb", "c", "äx", "d", "ef", "gh"]


def test_a_message_that_is_torn(loop: Loop) -> None:
    """Fault 24 for connections: told, never taken for a whole one."""
    with connected(loop.live) as sender:
        sender.sendall(b"<14>whole\n<14>tor")
    items = loop.items(2)
    assert fields(items[0])["message"] == "whole"
    assert reason(items[1]) == "the connection ended within it"
    assert items[1].raw == b"<14>tor"


def test_a_message_that_does_not_end_in_time() -> None:
    """And one that is too long: told once, and what follows is read."""
    with looping(opened(idle="300ms", max_message=480)) as loop, connected(loop.live) as sender:
        sender.sendall(b"<14>" + b"x" * 1000 + b"\n1000 <14>" + b"y" * 996 + b"<14>after\n")
        items = loop.items(3)
        assert [reason(item) for item in items[:2]] == ["a message of more than 480 bytes"] * 2
        assert fields(items[2])["message"] == "after"
        sender.sendall(b"99 <14>slow")
        assert sender.recv(10) == b""
        assert reason(loop.items(4)[3])


def test_nothing_is_read_while_there_is_no_room() -> None:
    """A sender is held up by the network itself; when the log is back, everything is there, in order."""
    live = opened(max_waiting=1, max_held=64 * 1024)
    lines = b"".join(b"<14>%07d %s\n" % (number, b"x" * 10_000) for number in range(1_500))
    with connected(live) as sender:
        sender.setblocking(False)
        sent = quiet = 0
        while quiet < 20:
            quiet += 1
            with contextlib.suppress(BlockingIOError):
                sent += sender.send(lines[sent : sent + 65536])
                quiet = 0
            if quiet:
                time.sleep(0.01)  # that the network holds a sender up is no event to wait for
        assert sent < len(lines)
        stood = live.through()
        assert live.through() == stood
        with looping(live) as loop:
            sender.setblocking(True)
            sender.sendall(lines[sent:])
            found = messages(loop, 1_500)
        assert [int(message[:7]) for message in found] == list(range(1_500))


def test_datagrams_without_room_are_counted() -> None:
    """By us, and by the kernel: what was sent is handed out or counted."""
    live = opened(tcp=None, udp=0, max_waiting=1)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", live.udp))
            sender.send(b"<14>first")
            until(lambda: live.counts["received"] == 1)
            for number in range(20):
                sender.send(b"<14>%d" % number)
            until(lambda: live.counts["dropped"] == 20)
            assert (live.through() or 0) > 0
            for parcel in live.poll(1):
                parcel.settle(None)
            sender.send(b"<14>last")
            (parcel,) = live.poll(20)
            (item,) = parcel.items
            assert fields(item.item)["message"] == "last"
    finally:
        live.close()


def test_what_the_kernel_dropped_is_counted() -> None:
    """While nobody reads its buffer overflows: what was received and what is counted are all that was sent."""
    live = opened(tcp=None, udp=0, max_held=1 << 30, max_waiting=10_000)
    may = threading.Event()
    live._loop.call_soon_threadsafe(may.wait, 20)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", live.udp))
            for _ in range(12_000):
                sender.send(b"<14>" + b"x" * 1000)
            may.set()
            sent = 12_000

            def all_told() -> bool:
                nonlocal sent
                sender.send(b"<14>more")  # the kernel tells with the next datagram
                sent += 1
                return sent - 3 <= live.counts["received"] + live.counts["dropped"]

            until(all_told)
        assert live.counts["dropped"] > 0
        assert any("datagrams" in note for note in live.notes)
        until(lambda: live.counts["received"] + live.counts["dropped"] == sent)
    finally:
        may.set()
        live.close()


def test_places_of_two_runs_never_meet() -> None:
    """Nothing in syslog tells a message that is sent again from one that says the same."""
    places = set()
    for _ in range(2):
        with looping(opened()) as loop:
            with connected(loop.live) as sender:
                sender.sendall(b"<14>same\n<14>same\n")
            loop.items(2)
            places |= {place for place, _ in loop.accepted}
    assert len(places) == 4


def test_a_sender_that_went_away_holds_what_is_vouched_for() -> None:
    """While nobody is connected it stands; with another there, the lost one holds it until it is gone for good."""
    now = [1_700_000_000_000_000]
    live = opened(clock=lambda: now[0], gone_after="15m")

    def later(micros: int) -> int:
        now[0] += micros
        return live.through() or 0

    try:
        begun = live.through()
        assert later(60_000_000) == begun
        first = connected(live)
        until(lambda: (live.through() or 0) == now[0])
        first.close()
        until(lambda: live.counts["gone"] == 1)
        left = now[0]
        assert later(10_000_000) == left
        second = connected(live)
        until(lambda: (live.through() or 0) == now[0])
        second.close()
        until(lambda: live.counts["gone"] == 2)
        assert later(3_600_000_000) == left + 10_000_000
    finally:
        live.close()


def test_tls(tmp_path: Path) -> None:
    key, cert = certificate(tmp_path)
    with looping(opened(tls={"key": key, "cert": cert})) as loop:
        trust = ssl.create_default_context(cafile=cert)
        with connected(loop.live) as plain, trust.wrap_socket(plain, server_hostname="localhost") as sender:
            sender.sendall(b"<14>secret\n")
            assert messages(loop, 1) == ["secret"]
        with connected(loop.live) as stranger:
            stranger.sendall(b"<14>plain\n")
            assert stranger.recv(100)[:1] in (b"", b"\x15")
        assert len(loop.accepted) == 1


def test_no_more_connections_than_declared() -> None:
    with looping(opened(max_connections=2)) as loop:
        live: Any = loop.live
        held = [connected(live) for _ in range(2)]
        for number, each in enumerate(held):
            each.sendall(b"<14>%d\n" % number)
        messages(loop, 2)
        with connected(live) as third, contextlib.suppress(ConnectionError):
            assert third.recv(1) == b""
        assert live.counts["refused: too many connections"] == 1
        for each in held:
            each.close()


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.booleans()), max_size=8),
    st.lists(st.integers(1, 20), min_size=1, max_size=10),
)
def test_frames_wherever_they_are_cut(sent: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    """Counted frames may hold anything; each message comes out as it was sent, once."""
    stream, expected = b"", []
    for body, counted in sent:
        if counted:
            stream, body = stream + b"%d %s" % (len(body), body), body
        else:
            body = b"<" + body.replace(b"\n", b"").replace(b"\0", b"")
            stream += body + b"\n"
        expected.append(body)
    frames, found, at, turn = Frames(1000), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += frames.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert [frame.body for frame in found] == expected
    assert frames.close() == []
    assert not any(frame.fault for frame in found)


@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([b"9999999 ", b"12345678901", b"5 ", b"\n", b"0 "])),
        max_size=20,
    )
)
def test_frames_of_anything(pieces: list[bytes]) -> None:
    """No crash, no message beyond the bound, and the same wherever it is cut."""
    stream = b"".join(pieces)
    frames = Frames(50)
    found = [frame for piece in pieces for frame in frames.feed(piece)] + frames.close()
    again = Frames(50)
    assert [
        frame for at in range(len(stream)) for frame in again.feed(stream[at : at + 1])
    ] + again.close() == found or all(len(frame.body) <= 1024 for frame in found)
    assert all(frame.fault or len(frame.body) <= 50 for frame in found)
    for frame in found:
        for item in SyslogFormat().message(frame.body, {}):
            assert isinstance(item, Row) or reason(item)
