"""`Format`: how bytes become records. Pure: no file, no socket, no clock; equal bytes give equal records.

A *decoder* reads one stream (a file, a standard input, one message of a topic or a request). It is fed bytes as they come and
hands out records as they are complete.

Laws, held by one suite for every format:

- Records do not overlap, come in order, and lose nothing: every byte that was fed is in a record, or between two of them as
  what parts them (a line end, a byte order mark), or still held back.
- Where the bytes are cut on their way changes nothing: fed one by one they give the same records as in one piece.
- A decoder that begins at a record's ``end``, with the `Decoder.state` as of then, goes on as the first one would have.
- Nothing that is fed raises, hangs, or takes memory without bound: what makes no record is an `Unreadable`, and the rest goes on.
- ``close`` says that nothing more comes. A record that is not whole then is `Unreadable`, never taken for a whole one; only a
  last line without its end counts as one, where the format's lines are whole or not by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from collectors.inputs.record import Row, Unreadable


class Ready(NamedTuple):
    """A record that is an event already, in the contract's form (``schemas.event.Event`` as JSON, without ``seq``).

    ``event`` may lack ``id``: it is then made of the record's place. ``line``, ``raw``: as for `Row`. ``nothing``: why it makes no
    event by the format's own rules; ``event`` is empty then. Only formats that explain themselves (``explaining``) say so, for
    samples: of what is collected nothing is handed out in its place.
    """

    line: int
    event: Mapping[str, Any]
    raw: bytes | None = None
    nothing: str = ""


Item = Row | Ready | Unreadable


class Record(NamedTuple):
    """What stood in [``offset``, ``end``) of the stream, bytes; ``end`` is where the next one begins, line end included.

    ``items``: mostly one; several where one piece holds many (an EDI interchange, a JSON array, an OTLP request); none where
    it says nothing (a header, an empty line).
    """

    offset: int
    end: int
    line: int
    items: tuple[Item, ...]


class Decoder(Protocol):
    """Reads one stream, from where it was opened."""

    def feed(self, data: bytes) -> list[Record]:
        """Records that are complete with these bytes."""
        ...

    def close(self) -> list[Record]:
        """Nothing more comes: what is left."""
        ...

    def state(self) -> dict[str, Any]:
        """What a decoder needs to go on behind the last record that was handed out, as JSON can say it; mostly nothing.

        ``line``: the number of the stream's line there, where records do not end with their lines.
        """
        ...


class Format(Protocol):
    """A format as it is declared in a collector's file; frozen."""

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        """Begin at byte ``offset``, the stream's line ``line``."""
        ...

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:
        """A message as a whole, a stream of its own: of a topic, of a request. ``headers``: names in lower case.

        Lines are counted within it.
        """
        ...


def whole(decoder: Decoder, body: bytes) -> list[Item]:
    """`Format.message` for formats that ask no headers."""
    return [item for record in (*decoder.feed(body), *decoder.close()) for item in record.items]
