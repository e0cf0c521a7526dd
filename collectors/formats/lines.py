"""Lines: how bytes are parted into records of one or several lines, for every format whose records are lines.

A line ends with LF or CRLF, in UTF-16 with the same of two bytes each. A byte order mark at a stream's beginning is taken off,
and one of UTF-16 is obeyed though utf-8 was declared. What is longer than its bound is one unreadable record: its beginning.
"""

from __future__ import annotations

import codecs
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar

import re2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from collectors.formats.contract import Decoder, Item, Record, whole
from collectors.inputs.record import MAX_RAW, Unreadable

MAX_LINE = 4 * 1024 * 1024
"""Bytes; no event may exceed 256 KiB anyway."""
MAX_MATCHED = 256 * 1024
"""Bytes of a record, or of a line's beginning, that a pattern is tried on."""
MAX_PROGRAM = 3000
"""Instructions of a pattern: 24,000 of them took 5 s for 64 KiB, linear or not."""
TORN = "the last line has no end, so it may be torn"
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# Stateful, or no text at all: a line cannot be cut out of them by its end.
_REFUSED = (
    "utf-7",
    "utf-32",
    "utf-32-le",
    "utf-32-be",
    "hz",
    "idna",
    "punycode",
    "unicode_escape",
    "raw_unicode_escape",
)


def known_encoding(name: str) -> str:
    """The name under which Python knows it. Raises ``ValueError`` for what is none, or has no lines that can be cut."""
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"unknown encoding {name[:40]!r}; write for instance utf-8, latin-1 or cp1252") from None
    if found in _REFUSED or found.startswith("iso2022"):
        raise ValueError(f"lines in {found} cannot be told apart; convert the file, for instance to utf-8")
    return "utf-8" if found == "utf-8-sig" else found


def decoded(data: bytes, encoding: str) -> str:
    """A whole stream's text without its byte order mark. Raises ``UnicodeError``."""
    if data[:2] in _UTF16 and encoding.startswith(("utf-8", "utf-16")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)


def linear(pattern: str) -> Any:
    """A compiled pattern of the linear-time engine, so that no pattern and no line can hang a collector.

    It matches bytes of UTF-8. Raises ``ValueError`` naming what it cannot do.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        told = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        if "(?" in told or "escape" in told:
            told += "; look-arounds and back references are not supported, since they can take for ever"
        raise ValueError(f"the pattern cannot be read: {told[:300]}") from None
    if compiled.programsize > MAX_PROGRAM:
        raise ValueError("the pattern is too large: its counted repetitions multiply")
    return compiled


Encoding = Annotated[str, AfterValidator(known_encoding)]


class Multiline(BaseModel):
    """Records of several lines. Exactly one of ``starts``, a pattern that the first line of a record has, and ``continues``,
    one that every further line has. A record of more lines or bytes than the bounds is unreadable as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    starts: str | None = Field(default=None, max_length=2000)
    continues: str | None = Field(default=None, max_length=2000)
    max_lines: int = Field(default=1000, ge=1, le=100_000)
    max_bytes: int = Field(default=MAX_LINE, ge=1, le=64 * 1024 * 1024)

    @model_validator(mode="after")
    def _one(self) -> Multiline:
        if (self.starts is None) == (self.continues is None):
            raise ValueError("exactly one of starts and continues is needed, each a regular expression")
        linear(self.starts or self.continues or "")
        return self

    @cached_property
    def _pattern(self) -> Any:
        return linear(self.starts if self.starts is not None else self.continues or "")

    def begins(self, line: bytes, fault: str) -> bool:
        """Whether a line, UTF-8 without its end, begins a record. Of a torn one only what ``starts`` it tells so: what would
        continue the last may have been cut off."""
        if fault == TORN and self.starts is None:
            return False
        return (self._pattern.search(line[:MAX_MATCHED]) is not None) == (self.starts is not None)


class LineFormat(BaseModel):
    """A format whose records are lines. A subclass says what a record's text is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether a record that was cut short cannot be taken for a whole one, as JSON cannot: then a last line needs no end.
    self_ending: ClassVar[bool] = False

    encoding: Encoding = "utf-8"
    multiline: Multiline | None = None

    @abstractmethod
    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        """What a record says. ``text``: without the end of its last line, not blank; ``raw``: the same as it stood."""

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        return LineDecoder(self, offset, line, state, ended=self.self_ending)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:  # noqa: ARG002  (the contract's)
        return whole(LineDecoder(self, ended=True), body)


class LineDecoder:
    """Parts a stream into lines and hands each, or each group of them, to its format. Holds at most one record's beginning.

    ``ended``: the stream's end ends its last line too.
    """

    def __init__(
        self,
        layout: LineFormat,
        offset: int = 0,
        line: int = 1,
        state: Mapping[str, Any] | None = None,
        *,
        ended: bool = False,
    ) -> None:
        self._layout = layout
        self._offset = offset  # where the line that is held begins
        self._line = line
        self._ended = ended
        self._held = bytearray()
        self._length = 0  # of the line that is held, with what was dropped of it
        self._mark: bytes | None = b"" if offset == 0 else None
        self._group: _Group | None = None
        self._use((state or {}).get("encoding") or layout.encoding)

    def _use(self, encoding: str) -> None:
        # Without a mark UTF-16 is little-endian, as Windows writes it and Python reads it.
        self._encoding = "utf-16-le" if encoding == "utf-16" else encoding
        self._end, self._return = "\n".encode(self._encoding), "\r".encode(self._encoding)
        self._odd = b""

    def state(self) -> dict[str, Any]:
        """The byte order, where a mark at the beginning told it."""
        return {} if self._encoding == self._layout.encoding else {"encoding": self._encoding}

    def feed(self, data: bytes) -> list[Record]:
        if self._mark is not None:
            data = self._mark + data
            if len(data) < len(codecs.BOM_UTF8):
                self._mark = data
                return []
            data = self._begin(data)
        *lines, rest = self._parted(data)
        records: list[Record] = []
        if lines and self._length:
            self._hold(lines.pop(0))
            self._release(len(self._end), records)
        for line in lines:
            self._take(line, len(line), len(self._end), records)
        self._hold(rest)
        return records

    def close(self) -> list[Record]:
        records = self.feed(b"") if self._mark is None else self._feed_mark()
        if self._odd:
            self._hold(self._odd)
            self._odd = b""
        if self._length:
            self._release(0, records)
        if self._group is not None:
            records.append(self._grouped(self._group))
            self._group = None
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

    def _hold(self, data: bytes) -> None:
        self._length += len(data)
        self._held += data[: MAX_LINE - len(self._held)]

    def _release(self, end: int, records: list[Record]) -> None:
        line, length = bytes(self._held), self._length
        self._held.clear()
        self._length = 0
        self._take(line, length, end, records)

    def _take(self, line: bytes, length: int, end: int, records: list[Record]) -> None:
        """A line of ``length`` bytes, of which ``line`` may be the beginning; ``end``: bytes of its line end, none of a last
        line that has none."""
        begin, number = self._offset, self._line
        self._offset += length + end
        self._line += 1
        fault = "the line is too long" if length > MAX_LINE else ""
        if not end and not self._ended:
            fault = fault or TORN
        group, bounds = self._group, self._layout.multiline
        if bounds is None:
            records.append(self._record(begin, self._offset, number, self._bare(line), fault))
        elif group is None or bounds.begins(self._utf8(self._bare(line)), fault):
            if group is not None:
                records.append(self._grouped(group))
            self._group = _Group(begin, self._offset, number, line, fault)
        else:
            group.add(line, self._offset, fault, bounds)

    def _bare(self, line: bytes) -> bytes:
        return line.removesuffix(self._return)

    def _utf8(self, line: bytes) -> bytes:
        if self._encoding == "utf-8":
            return line
        return line.decode(self._encoding, "replace").encode("utf-8", "replace")

    def _grouped(self, group: _Group) -> Record:
        raw = self._bare(self._end.join(group.lines))
        return self._record(group.begin, group.end, group.number, raw, group.fault)

    def _record(self, begin: int, end: int, number: int, raw: bytes, fault: str) -> Record:
        if fault:
            blank = fault == TORN and not raw.strip()
            return Record(begin, end, number, () if blank else (Unreadable(number, fault, raw[:MAX_RAW]),))
        try:
            text = raw.decode(self._encoding)
        except UnicodeError:
            return Record(begin, end, number, (Unreadable(number, f"bytes that are not {self._encoding}", raw),))
        if not text or text.isspace():
            return Record(begin, end, number, ())
        if self._group is not None:
            text = text.replace("\r\n", "\n")
        return Record(begin, end, number, self._layout.items(text, raw, number))


class _Group:
    """Lines that are one record as far as they came, bounded; where it is too large, with its beginning only."""

    __slots__ = ("begin", "count", "end", "fault", "lines", "number")

    def __init__(self, begin: int, end: int, number: int, line: bytes, fault: str) -> None:
        self.begin, self.end, self.number = begin, end, number
        self.lines = [line]
        self.count = 1
        self.fault = fault

    def add(self, line: bytes, end: int, fault: str, bounds: Multiline) -> None:
        self.end = end
        self.count += 1
        if self.count > bounds.max_lines:
            fault = f"a record of more than {bounds.max_lines} lines"
        elif end - self.begin > bounds.max_bytes:
            fault = f"a record of more than {bounds.max_bytes} bytes"
        if not self.fault:
            self.lines.append(line)
        self.fault = self.fault or fault
