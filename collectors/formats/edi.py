"""EDI: what X12 and EDIFACT share. Interchanges are found in a stream, and parted into segments and elements.

A record of the stream is one interchange, so a position is always between two of them. Bytes before an interchange that are no
blanks, an interchange without an end, and one that is too large are unreadable; reading goes on at the next ``ISA``, ``UNA`` or
``UNB`` that is a header for certain.

pydifact (0.2.3) was tried: it takes a whole text, refuses tabs between segments, passes wrong control numbers and counts, and knows
no positions. badx12 (2018) and linuxforhealth-x12 (2022, health care only) are no longer kept; pyx12 is for HIPAA's sets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from collectors.formats.contract import Item, Record
from collectors.inputs.record import MAX_RAW, Unreadable

MAX_INTERCHANGE = 16 * 1024 * 1024
"""Bytes."""
MAX_PARTS = 1_000_000
"""Segments, elements and components of an interchange; as fields they take some 150 bytes each."""
_MAX_HEADER = 1024
_MAX_RESTART = 200
_BOM = b"\xef\xbb\xbf"


class Torn(Exception):  # noqa: N818  (no error: more bytes are needed to say)
    pass


class Syntax(NamedTuple):
    """Separators, one byte each; ``repetition`` and ``release`` may be empty."""

    segment: bytes
    element: bytes
    component: bytes
    repetition: bytes = b""
    release: bytes = b""

    def parts(self, data: bytes) -> int:
        """How many pieces there are at most."""
        return sum(data.count(mark) for mark in {*self} if mark)


class Grammar(NamedTuple):
    """How an interchange is recognised. ``starts``: tags of segments that begin one; ``end``: the tag of its last one; ``blanks``:
    bytes that may stand between segments; ``plain``: bytes that are no separator. All in the stream's encoding.

    ``syntax``: separators, and bytes of the header that told them, of the first bytes of an interchange; raises `Torn` or
    ``ValueError``. ``header``: whether bytes are an interchange's header for certain, None where more are
    needed to say; the separators are those of the interchange that they may stand in.
    """

    starts: tuple[bytes, ...]
    end: bytes
    blanks: bytes
    plain: bytes
    syntax: Callable[[bytes], tuple[Syntax, int]]
    header: Callable[[bytes, Syntax | None], bool | None]

    def pattern(self, *tags: bytes) -> re.Pattern[bytes]:
        """A tag and the separator behind it."""
        return _pattern(tags, self.plain + self.blanks)


@lru_cache(maxsize=64)
def _pattern(tags: tuple[bytes, ...], plain: bytes) -> re.Pattern[bytes]:
    return re.compile(b"(" + b"|".join(map(re.escape, tags)) + b")[^" + re.escape(plain) + b"]", re.DOTALL)


def grammar_bytes(text: str, encoding: str) -> bytes:
    """Characters that the encoding has, as bytes."""
    return b"".join(char.encode(encoding, "ignore") for char in text)


class Interchanges:
    """A `Decoder` of interchanges. ``items``: what one is, by its bytes, separators and line."""

    def __init__(
        self,
        grammar: Grammar,
        items: Callable[[bytes, Syntax, int], tuple[Item, ...]],
        offset: int,
        line: int,
        state: Mapping[str, Any],
        limit: int = MAX_INTERCHANGE,
    ) -> None:
        self._grammar, self._items, self._limit = grammar, items, limit
        self._start = grammar.pattern(*grammar.starts)
        self._mark = grammar.pattern(grammar.end, *grammar.starts)
        self._offset = offset
        self._line = self._behind = int(state.get("line", line))
        self._held = bytearray()
        self._begin()

    def _begin(self) -> None:
        self._syntax: Syntax | None = None
        self._fault = ""  # why what is held is no interchange
        self._scanned = 0  # bytes that need not be looked at again
        self._ending = -1  # where the last segment begins
        self._sought = 0  # from where its end is looked for

    def state(self) -> dict[str, Any]:
        # Of the last interchange's end: blanks behind it are read again.
        return {"line": self._behind}

    def feed(self, data: bytes) -> list[Record]:
        self._held += data
        records: list[Record] = []
        while (record := self._next()) is not None:
            records.append(record)
        return records

    def close(self) -> list[Record]:
        rest = bytes(self._held)
        if not self._fault and not rest.strip(self._grammar.blanks):
            return []
        if self._fault or (self._syntax is None and not self._start.match(rest)):
            reason = self._fault or "no interchange begins here"
        else:
            reason = f"the stream ends before the interchange does (no {self._shown(self._grammar.end)})"
        return [self._take(len(rest), (Unreadable(self._line, reason, rest[:MAX_RAW]),))]

    def _next(self) -> Record | None:
        """A record, or None where more bytes are needed."""
        if self._fault:
            return self._junk()
        if self._syntax is None:
            self._skip()
            if len(self._held) < 4:
                return None
            if not self._start.match(self._held):
                self._fault = "no interchange begins here"
                return self._junk()
            try:
                self._syntax, self._scanned = self._grammar.syntax(bytes(self._held[:_MAX_HEADER]))
            except Torn:
                if len(self._held) < _MAX_HEADER:
                    return None
                self._fault = "the interchange's header has no end"
            except ValueError as error:
                self._fault = str(error)
            if self._syntax is None:
                self._scanned = 1
                return self._junk()
        return self._whole(self._syntax)

    def _skip(self) -> None:
        """Blanks before an interchange, and a byte order mark at the stream's beginning."""
        held, grammar = self._held, self._grammar
        if self._offset == 0 and held.startswith(_BOM):
            self._pass(len(_BOM))
        if held[:1] and held[:1] in grammar.blanks:
            self._pass(len(held) - len(held.lstrip(grammar.blanks)))

    def _pass(self, count: int) -> None:
        self._line += self._held.count(b"\n", 0, count)
        self._offset += count
        del self._held[:count]

    def _junk(self) -> Record | None:
        """What is no interchange, up to the next header, in pieces."""
        begin: int | None = None
        while (found := self._start.search(self._held, self._scanned, MAX_RAW + 4)) is not None:
            certain = self._header(found.start())
            if certain is None:
                return None
            if certain:
                begin = found.start()
                break
            self._scanned = found.start() + 1
        if begin is None:
            if len(self._held) < MAX_RAW + 4:
                self._scanned = max(self._scanned, len(self._held) - 3)
                return None
            begin = MAX_RAW
        return self._take(begin, (Unreadable(self._line, self._fault, bytes(self._held[:begin])),))

    def _header(self, at: int, limit: int | None = None) -> bool | None:
        until = at + _MAX_RESTART if limit is None else min(at + _MAX_RESTART, limit)
        return self._grammar.header(bytes(self._held[at:until]), self._syntax)

    def _whole(self, syntax: Syntax) -> Record | None:
        held = self._held
        while True:
            end = self._segment_end(syntax)
            until = min(self._limit, len(held) if end is None else end)
            found = self._mark.search(held, self._scanned, until)
            if found is None:
                break
            begins = self._begins(found, syntax)
            if begins is None:
                # What may be the next interchange is not there far enough to say.
                return self._too_large()
            if begins and found[1] != self._grammar.end:
                return self._refused(found.start(), f"the interchange has no {self._shown(self._grammar.end)}")
            if begins and self._ending < 0:
                self._ending = self._sought = found.start()
            self._scanned = found.end() - 1
        if end is not None and end <= self._limit:
            data = bytes(held[:end])
            return self._take(end, self._items(data, syntax, self._line))
        self._scanned = max(self._scanned, until - 3)
        return self._too_large()

    def _too_large(self) -> Record | None:
        if len(self._held) >= self._limit:
            return self._refused(self._limit, f"an interchange of more than {self._limit} bytes")
        return None

    def _segment_end(self, syntax: Syntax) -> int | None:
        """Behind the last segment's terminator, where that is there."""
        if self._ending < 0:
            return None
        while (at := self._held.find(syntax.segment, self._sought)) >= 0:
            if not released(self._held, at, syntax):
                self._sought = at
                return at + 1
            self._sought = at + 1
        self._sought = len(self._held)
        return None

    def _begins(self, found: re.Match[bytes], syntax: Syntax) -> bool | None:
        """Whether a segment begins here, behind another one. Another interchange's header may stand anywhere, for a file that was
        cut off goes on with it; only, it has to be a header for certain."""
        if found[1] != self._grammar.end:
            return self._header(found.start(), self._limit)
        return self._at_segment(found.start(), syntax)

    def _at_segment(self, at: int, syntax: Syntax) -> bool:
        blanks = self._grammar.blanks.replace(syntax.segment, b"")
        while at > 0:
            window = bytes(self._held[max(0, at - 256) : at])
            left = len(window.rstrip(blanks))
            at -= len(window) - left
            if left:
                return window[left - 1 : left] == syntax.segment and not released(self._held, at - 1, syntax)
        return False

    def _refused(self, end: int, reason: str) -> Record:
        return self._take(end, (Unreadable(self._line, reason, bytes(self._held[: min(end, MAX_RAW)])),))

    def _take(self, end: int, items: tuple[Item, ...]) -> Record:
        record = Record(self._offset, self._offset + end, self._line, items)
        self._pass(end)
        self._behind = self._line
        self._begin()
        return record

    @staticmethod
    def _shown(tag: bytes) -> str:
        return tag.decode("ascii", "replace") if tag.isalpha() else "end"


def released(data: bytes | bytearray, at: int, syntax: Syntax) -> bool:
    """Whether the separator here is a character of a text: an odd number of release characters stand before it."""
    if not syntax.release or data[at - 1 : at] != syntax.release:
        return False
    begin = at
    while begin > 0:
        window = bytes(data[max(0, begin - 256) : begin])
        left = len(window.rstrip(syntax.release))
        begin -= len(window) - left
        if left:
            break
    return (at - begin) % 2 == 1
