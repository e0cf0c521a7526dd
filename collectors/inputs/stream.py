"""One stream of bytes on its way through a decoder: records with places made of the digest of all before them.

For what is read from its beginning and has no numbering of its own: files and standard input.
"""

from __future__ import annotations

from collections.abc import Sequence

from collectors.formats.contract import Decoder, Format, Record
from collectors.inputs.file_identity import Position, Prefix
from collectors.inputs.live import Placed
from collectors.inputs.record import MAX_RAW, Unreadable

_DIGITS = 24
"""Hexadecimal digits of a digest that are in an id: of 10^9 records two share them once in 10^10 collectors."""

MAX_HELD = 72 * 1024 * 1024
"""Bytes of one record. Formats have lower bounds; what is still held beyond is set aside up to there, as one unreadable record."""


class Stream:
    """Decodes what it is fed, and knows where its last record ended.

    Attributes:
        position: behind the last record that was handed out.
        held: bytes that are behind it.
    """

    def __init__(self, layout: Format, position: Position | None = None, prefix: Prefix | None = None):
        """``prefix``: the chain at ``position``."""
        self.position = position or Position()
        self._layout = layout
        self._prefix = prefix or Prefix()
        self._open()

    def _open(self) -> None:
        self._held = bytearray()
        self._decoder: Decoder = self._layout.decoder(
            self.position.offset, self.position.line, self.position.state or None
        )

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def fed(self) -> int:
        """Offset behind the last byte that was fed."""
        return self.position.offset + len(self._held)

    def feed(self, data: bytes) -> list[Placed]:
        self._held += data
        found = self._take(self._decoder.feed(data), self._decoder)
        if len(self._held) > MAX_HELD:
            found.append(self.set_aside(f"a record of more than {MAX_HELD >> 20} MiB"))
            self._pass(len(self._held), self.position.line + 1)
            self._open()
        return found

    def quiet(self) -> list[Placed]:
        """Nothing has come for a while: hand out what is held, if it ends with a line's end and all of it is a record.

        A record of several lines ends where the next begins; without this the last one would wait for that for ever.
        """
        if not self._held.rstrip(b"\0").endswith(b"\n"):
            return []
        decoder = self._layout.decoder(self.position.offset, self.position.line, self.position.state or None)
        records = [*decoder.feed(bytes(self._held)), *decoder.close()]
        if not records or any(isinstance(item, Unreadable) for record in records for item in record.items):
            return []
        if records[-1].end != self.fed:
            return []
        found = self._take(records, decoder)
        self._open()
        return found

    def close(self) -> list[Placed]:
        """Nothing more comes: what is left. The position stays before it, so that it is read again where more does come."""
        position, held, prefix = self.position, self._held[:], self._prefix
        self._prefix = prefix.copy()
        found = self._take(self._decoder.close(), self._decoder)
        self.position, self._held, self._prefix = position, held, prefix
        self._open_again(bytes(held))
        return found

    def _open_again(self, held: bytes) -> None:
        self._open()
        self._held += held
        self._decoder.feed(held)

    def set_aside(self, reason: str) -> Placed:
        """What is held, and cannot be read on, as one unreadable item."""
        place = f"{self.position.offset}-{self._prefix.copy().with_record(bytes(self._held))[:_DIGITS]}"
        return Placed(place, Unreadable(self.position.line, reason, bytes(self._held[:MAX_RAW])))

    def _take(self, records: Sequence[Record], decoder: Decoder) -> list[Placed]:
        if not records:
            return []
        found: list[Placed] = []
        base = self.position.offset
        done, line = base, self.position.line
        view = bytes(self._held)
        for record in records:
            if record.offset > done:
                self._prefix.update(view[done - base : record.offset - base])
            raw = view[record.offset - base : record.end - base]
            place = f"{record.offset}-{self._prefix.with_record(raw)[:_DIGITS]}"
            for number, item in enumerate(record.items):
                found.append(Placed(f"{place}.{number}" if number else place, item))
            done, line = record.end, record.line + max(1, raw.count(b"\n"))
        del self._held[: done - base]
        state = decoder.state()
        # Where records do not end with their lines only the decoder knows.
        self.position = self.position.at(self._prefix)._replace(line=state.get("line", line), state=state)
        return found

    def _pass(self, size: int, line: int) -> None:
        self._prefix.update(bytes(self._held[:size]))
        del self._held[:size]
        self.position = self.position.at(self._prefix)._replace(line=line)
