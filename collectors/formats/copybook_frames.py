"""Framing: where the records of a mainframe file begin and end.

``fixed`` length; a record descriptor word before each record (``rdw``), in blocks with a word of their own (``bdw``); a length
that stands in a field (``field``); or one that follows from the record's own tables (``depending``). A word that cannot be one
leaves no way to find the next record: within a block the rest of the block is unreadable, otherwise all that follows, in pieces,
until the stream ends. Nothing is searched for what looks like a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from collectors.formats.contract import Item, Record
from collectors.formats.copybook_nodes import Torn
from collectors.inputs.record import MAX_RAW, Unreadable

MAX_BLOCK = 16 * 1024 * 1024
"""Bytes of a block with an extended descriptor word."""


class Extent(NamedTuple):
    """The next record: ``header`` bytes before it, ``size`` bytes with them. ``reason``: why they are none."""

    header: int
    size: int
    reason: str = ""


class Words(NamedTuple):
    """Descriptor words of four bytes. ``order``: ``big``, the length in the first two and zeros behind it; ``little``, the other
    way round. ``counts_itself``: whether the length has the word's own four bytes in it."""

    order: Literal["big", "little"]
    counts_itself: bool

    def size(self, word: bytes) -> int:
        """Bytes with the word. Raises ``ValueError`` where it is none."""
        first, second = word[:2], word[2:4]
        if self.order == "little":
            first, second = second[::-1], first
        length = int.from_bytes(first, "big") + (0 if self.counts_itself else 4)
        if second != b"\x00\x00":
            spanned = self.order == "big" and second[0] in (1, 2, 3) and not second[1]
            raise ValueError(f"{word.hex()} is {'the word of a spanned record' if spanned else 'no descriptor word'}")
        if length < 4 or (length == 4 and not self.counts_itself):
            raise ValueError(f"{word.hex()} is the descriptor word of no record")
        return length


# Of the bytes from a place on, and of what is left of the block: the next record. Raises `Torn`, and ValueError where there is no
# way on.
Measure = Callable[[bytes, int, int], Extent]


def fixed(length: int) -> Measure:
    return lambda data, at, _: _needed(data, at, Extent(0, length))


def by_words(words: Words) -> Measure:
    return lambda data, at, _: _needed(data, at, Extent(4, words.size(_word(data, at))))


def by_blocks(words: Words) -> Measure:
    def measure(data: bytes, at: int, block: int) -> Extent:
        header = 0
        if not block:
            block, header = block_size(_word(data, at)), 4
            if not block:
                return Extent(4, 4)
        try:
            size = words.size(_word(data, at + header, header))
            reason = "" if size <= block else "a record that is longer than its block"
        except ValueError as error:
            size, reason = block, str(error)
        if reason:
            return _needed(data, at, Extent(header, header + block, reason))
        return _needed(data, at, Extent(header + 4, header + size))

    return measure


def block_size(word: bytes) -> int:
    """Bytes of a block without its descriptor word. Raises ``ValueError`` where it is none."""
    extended = word[0] & 0x80
    size = int.from_bytes(word, "big") & 0x7FFFFFFF if extended else int.from_bytes(word[:2], "big")
    if size < 4 or size > MAX_BLOCK or (not extended and word[2:] != b"\x00\x00") or 4 < size < 8:
        raise ValueError(f"{word.hex()} is no block descriptor word")
    return size - 4


def _word(data: bytes, at: int, before: int = 0) -> bytes:
    word = data[at : at + 4]
    if len(word) < 4:
        raise Torn(before + 4)
    return word


def _needed(data: bytes, at: int, extent: Extent) -> Extent:
    if len(data) - at < extent.size:
        raise Torn(extent.size)
    return extent


class Frames:
    """A `Decoder` of records that are found by their length. ``items``: what a record is, by its bytes and its number."""

    def __init__(
        self,
        measure: Measure,
        items: Callable[[bytes, int], tuple[Item, ...]],
        offset: int,
        number: int,
        state: Mapping[str, Any],
        *,
        blocked: bool = False,
    ) -> None:
        self._measure, self._items, self._blocked = measure, items, blocked
        self._offset = offset
        self._number = int(state.get("line", number))
        self._block = int(state.get("block", 0))
        self._lost = str(state.get("lost", ""))
        self._held = bytearray()
        self._needed = 1

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"line": self._number}
        if self._block:
            state["block"] = self._block
        if self._lost:
            state["lost"] = self._lost
        return state

    def feed(self, data: bytes) -> list[Record]:
        self._held += data
        if len(self._held) < self._needed:
            return []
        view, at, records = bytes(self._held), 0, []
        while at < len(view):
            size, items = self._next(view, at)
            if not size:
                break
            records.append(Record(self._offset, self._offset + size, self._number, items))
            self._offset += size
            self._number += 1
            at += size
        del self._held[:at]
        return records

    def _next(self, data: bytes, at: int) -> tuple[int, tuple[Item, ...]]:
        """Bytes of the next record and what it is; 0 bytes where more are needed."""
        self._needed = 1
        if not self._lost:
            try:
                extent = self._measure(data, at, self._block)
            except Torn as torn:
                self._needed = torn.needed
                return 0, ()
            except ValueError as error:
                self._lost = f"{error}; where the next record begins cannot be known"
            else:
                return extent.size, self._framed(data, at, extent)
        if len(data) - at < MAX_RAW:
            self._needed = MAX_RAW
            return 0, ()
        return MAX_RAW, (Unreadable(self._number, self._lost, data[at : at + MAX_RAW]),)

    def _framed(self, data: bytes, at: int, extent: Extent) -> tuple[Item, ...]:
        if self._blocked:
            new = not self._block
            self._block = (block_size(data[at : at + 4]) + 4 if new else self._block) - extent.size
        piece = data[at + extent.header : at + extent.size]
        if extent.reason:
            return (Unreadable(self._number, extent.reason, piece[:MAX_RAW]),)
        return self._items(piece, self._number) if piece else ()

    def close(self) -> list[Record]:
        rest = bytes(self._held)
        self._held.clear()
        if not rest:
            return []
        reason = self._lost or f"the stream ends within a record: {len(rest)} bytes are left"
        record = Record(
            self._offset, self._offset + len(rest), self._number, (Unreadable(self._number, reason, rest[:MAX_RAW]),)
        )
        self._offset, self._number = record.end, self._number + 1
        return [record]
