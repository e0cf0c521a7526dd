"""Frames of syslog over TCP (RFC 6587): a count of octets before each, or behind it a line end or NUL (as Python's handler writes
it), told apart frame by frame."""

from __future__ import annotations

import re
from typing import NamedTuple

_END = re.compile(rb"[\n\0]")
_MOST_DIGITS = 8


class Frame(NamedTuple):
    """A message, or what is none. ``fault``: why, "" for a message. ``at``: its beginning in the stream, bytes."""

    at: int
    body: bytes
    fault: str = ""


class Frames:
    """Parts a connection's bytes. Holds at most one message's beginning.

    ``most``: bytes of a message. What is longer is one faulty frame with its beginning, and the rest of it is passed over.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._at = 0
        self._searched = 0  # no end is before here
        self._skip = 0  # octets of a counted frame that are still to be passed over
        self._to_line_end = False

    @property
    def begun(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._held or self._skip or self._to_line_end)

    def feed(self, data: bytes) -> list[Frame]:
        self._held += data
        frames: list[Frame] = []
        while self._held and self._step(frames):
            pass
        return frames

    def close(self) -> list[Frame]:
        """The connection ended: what is held is no whole message."""
        rest = bytes(self._held)
        self._held.clear()
        return [Frame(self._at, rest, "the connection ended within it")] if rest.strip(b"\r\n\0 ") else []

    def _step(self, frames: list[Frame]) -> bool:
        """One frame, or a part that is passed over; False where more bytes are needed."""
        if self._skip or self._to_line_end:
            return self._pass_over()
        first = self._held[0]
        if first in b"\r\n\0 ":
            self._take(1)
            return True
        return self._counted(frames) if 0x31 <= first <= 0x39 else self._line(frames)

    def _pass_over(self) -> bool:
        if self._skip:
            gone = min(self._skip, len(self._held))
            self._skip -= gone
            self._take(gone)
            return True
        end = _END.search(self._held)
        self._to_line_end = end is None
        self._take(len(self._held) if end is None else end.end())
        return True

    def _counted(self, frames: list[Frame]) -> bool:
        space = self._held.find(b" ", 0, _MOST_DIGITS + 1)
        digits = bytes(self._held[: _MOST_DIGITS if space < 0 else space])
        if not digits.isdigit():
            return self._line(frames)
        if space < 0:
            return self._line(frames) if len(self._held) > _MOST_DIGITS else False
        length, begin = int(digits), space + 1
        if length > self._most:
            frames.append(self._excess(bytes(self._held[begin : begin + 1024])))
            self._take(begin)
            self._skip = length
            return True
        if len(self._held) < begin + length:
            return False
        frames.append(Frame(self._at, bytes(self._held[begin : begin + length])))
        self._take(begin + length)
        return True

    def _line(self, frames: list[Frame]) -> bool:
        end = _END.search(self._held, self._searched, self._most + 1)
        if end is None and len(self._held) <= self._most:
            self._searched = len(self._held)
            return False
        if end is None:
            frames.append(self._excess(bytes(self._held[:1024])))
            self._to_line_end = True
            return True
        frames.append(Frame(self._at, bytes(self._held[: end.start()])))
        self._take(end.end())
        return True

    def _excess(self, beginning: bytes) -> Frame:
        return Frame(self._at, beginning, f"a message of more than {self._most} bytes")

    def _take(self, count: int) -> None:
        del self._held[:count]
        self._searched = 0
        self._at += count
