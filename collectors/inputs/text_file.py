"""A text file, plain or gzipped, read once from its beginning to its end in one of the formats."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from collectors.formats.contract import Decoder, Ready
from collectors.formats.framing import known_encoding
from collectors.inputs.record import Row, Unreadable
from schemas.errors import Invalid
from tracer.errors import Unavailable

_GZIP = b"\x1f\x8b"
_CHUNK = 256 * 1024


def readable(encoding: str, path: Path) -> str:
    """The encoding, where a file in it can be read line by line; otherwise raises ``Invalid``."""
    try:
        return known_encoding(encoding)
    except ValueError as error:
        raise Invalid(str(error), file=str(path)) from None


class TextFile:
    """One pass over a file's records. ``decoder``: reads it; its stream's end ends the last line too, since a file that a
    person names is there as a whole."""

    columns: tuple[str, ...] | None = None

    def __init__(self, path: Path, decoder: Decoder):
        """Raises ``Invalid`` where the file cannot be read."""
        self.name = str(path)
        self._decoder = decoder
        self._line = 0
        try:
            stream = path.open("rb")
            self.drawn = path.stat().st_mtime_ns // 1000
        except OSError as error:
            raise Invalid(f"cannot be read: {error.strerror}", file=self.name) from None
        zipped = stream.peek(2)[:2] == _GZIP
        self._closing = stream
        self._data: BufferedIOBase = gzip.GzipFile(fileobj=stream) if zipped else stream
        self._read = self._items()

    def __iter__(self) -> Iterator[Row | Unreadable]:
        return self._read

    def _items(self) -> Iterator[Row | Unreadable]:
        data = self._chunk()
        while data:
            yield from self._fed(data)
            data = self._chunk()
        yield from self._fed(None)

    def _fed(self, data: bytes | None) -> Iterator[Row | Unreadable]:
        for record in self._decoder.close() if data is None else self._decoder.feed(data):
            self._line = record.line
            for item in record.items:
                yield Row(item.line, item.event, item.raw) if isinstance(item, Ready) else item

    def _chunk(self) -> bytes:
        try:
            return self._data.read1(_CHUNK)  # not read: of a damaged file what comes before is still given
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = f"the gzipped file is damaged or ends in the middle: {error}"
            raise Invalid(reason, file=self.name, line=self._line + 1) from None
        except OSError as error:
            raise Unavailable(f"{self.name} cannot be read on: {error.strerror or error}") from None

    def close(self) -> None:
        self._data.close()
        self._closing.close()
