"""Framing: how bytes are parted into lines, whatever a line is then taken for.

A line ends with LF or CRLF, in UTF-16 with the same of two bytes each. A byte order mark at a stream's beginning is taken off,
and one of UTF-16 is obeyed though utf-8 was declared. Of a line that is longer than its bound the beginning is kept.
"""

from __future__ import annotations

import codecs
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from collectors.formats.contract import Record

MAX_LINE = 4 * 1024 * 1024
"""Bytes; no event may exceed 256 KiB anyway."""
TORN = "the last line has no end, so it may be torn"
TOO_LONG = "the line is too long"
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_MARKS = (codecs.BOM_UTF8, *_UTF16)
# Stateful, or no text at all: a line cannot be cut out of them by its end.
_REFUSED = (
    "utf-7",
    "utf-32",
    "utf-32-le",
    "utf-32-be",
    "hz",
    "idna",
    "punycode",
    "unicode-escape",
    "raw-unicode-escape",
)


def known_encoding(name: str) -> str:
    """The name under which Python knows it. Raises ``ValueError`` for what is none, or has no lines that can be cut."""
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"unknown encoding {name[:40]!r}; write for instance utf-8, latin-1 or cp1252") from None
    if found.replace("_", "-") in _REFUSED or found.startswith("iso2022"):
        raise ValueError(f"lines in {found} cannot be told apart; convert the file, for instance to utf-8")
    return "utf-8" if found == "utf-8-sig" else found


def decoded(data: bytes, encoding: str) -> tuple[str, str]:
    """A whole stream's text without its byte order mark, and the encoding that it has. Raises ``UnicodeError``."""
    order = _UTF16.get(data[:2])
    if order is not None and encoding.startswith(("utf-8", "utf-16")):
        return data[2:].decode(order), order
    if encoding == "utf-8":
        return data.decode("utf-8-sig"), encoding
    encoding = "utf-16-le" if encoding == "utf-16" else encoding
    return data.decode(encoding), encoding


Encoding = Annotated[str, AfterValidator(known_encoding)]


class Framing:
    """Parts a stream into lines; a subclass says what becomes of them. Holds at most one line, or its beginning.

    ``ended``: the stream's end ends its last line too.
    """

    def __init__(
        self,
        encoding: str,
        offset: int = 0,
        line: int = 1,
        state: Mapping[str, Any] | None = None,
        *,
        ended: bool = False,
    ) -> None:
        self._declared = encoding
        self._offset = offset  # where the line that is held begins
        self._line = line
        self._ended = ended
        self._held = bytearray()
        self._length = 0  # of the line that is held, with what was dropped of it
        self._mark: bytes | None = b"" if offset == 0 else None
        self._use((state or {}).get("encoding") or encoding)

    @abstractmethod
    def _taken(self, line: bytes, begin: int, end: int, number: int, fault: str, records: list[Record]) -> None:
        """A line without its LF, or its beginning where ``fault`` says that it is too long; ``begin``, ``end``: bytes of the
        stream. Appends what is complete with it to ``records``."""

    def _use(self, encoding: str) -> None:
        # Without a mark UTF-16 is little-endian, as Windows writes it and Python reads it.
        self._encoding = "utf-16-le" if encoding == "utf-16" else encoding
        self._end, self._return = "\n".encode(self._encoding), "\r".encode(self._encoding)
        self._odd = b""

    def state(self) -> dict[str, Any]:
        """The byte order, where a mark at the beginning told it; the line's number, where LF bytes do not count lines."""
        state: dict[str, Any] = {} if self._encoding == self._declared else {"encoding": self._encoding}
        if self._end != b"\n":
            state["line"] = self._behind()
        return state

    def _behind(self) -> int:
        """The number of the line behind the last record that was handed out."""
        return self._line

    def feed(self, data: bytes) -> list[Record]:
        if self._mark is not None:
            data = self._mark + data
            if any(len(data) < len(mark) and mark.startswith(data) for mark in _MARKS):
                self._mark = data
                return []
            data = self._begin(data)
        lines = self._parted(data)
        rest = lines.pop()
        records: list[Record] = []
        if lines and self._length:
            self._hold(lines.pop(0))
            self._release(len(self._end), records)
        self._take_all(lines, records)
        self._hold(rest)
        return records

    def close(self) -> list[Record]:
        records = self.feed(b"") if self._mark is None else self._feed_mark()
        if self._odd:
            self._hold(self._odd)
            self._odd = b""
        if self._length:
            self._release(0, records)
        return records

    def _feed_mark(self) -> list[Record]:
        """A stream of fewer bytes than a byte order mark may have."""
        data, self._mark = self._begin(self._mark or b""), None
        return self.feed(data)

    def _begin(self, data: bytes) -> bytes:
        """Data behind its byte order mark."""
        self._mark, mark = None, 0
        order = _UTF16.get(data[:2])
        if order is not None and self._encoding.startswith(("utf-8", "utf-16")):
            self._use(order)
            mark = len(codecs.BOM_UTF16)
        elif self._encoding == "utf-8" and data.startswith(codecs.BOM_UTF8):
            mark = len(codecs.BOM_UTF8)
        self._offset += mark
        return data[mark:]

    def _parted(self, data: bytes) -> list[bytes]:
        """Lines without their ends, and behind the last of them what is no whole line yet."""
        if len(self._end) == 1:
            return data.split(self._end)
        data = self._odd + data
        even = len(data) & ~1
        data, self._odd = data[:even], data[even:]
        parts, begin, at = [], 0, data.find(self._end)
        while at >= 0:
            if at % 2 == 0:
                parts.append(data[begin:at])
                begin = at + 2
            at = data.find(self._end, at + 1)
        return [*parts, data[begin:]]

    def _take_all(self, lines: list[bytes], records: list[Record]) -> None:
        """Lines that came as a whole, with their ends."""
        for line in lines:
            self._take(line, len(line), len(self._end), records)

    def _hold(self, data: bytes) -> None:
        self._length += len(data)
        self._held += data[: MAX_LINE - len(self._held)]

    def _release(self, end: int, records: list[Record]) -> None:
        line, length = bytes(self._held), self._length
        self._held.clear()
        self._length = 0
        self._take(line, length, end, records)

    def _take(self, line: bytes, length: int, end: int, records: list[Record]) -> None:
        """``length``: bytes that the line had; ``end``: bytes of its end, none of a last line that has none."""
        begin, number = self._offset, self._line
        self._offset += length + end
        self._line += 1
        fault = TOO_LONG if length > MAX_LINE else "" if end or self._ended else TORN
        self._taken(line, begin, self._offset, number, fault, records)
