"""Lines of a text file, plain or gzipped, bounded in length."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from schemas.errors import Invalid
from tracer.errors import Unavailable

MAX_LINE = 4 * 1024 * 1024
"""Characters; longer lines are skipped and counted as unreadable, since no event may exceed 256 KiB anyway."""
_GZIP = b"\x1f\x8b"


class Line(NamedTuple):
    """``number``: 1-based. ``whole`` False: longer than ``MAX_LINE``, and ``text`` is only its beginning. Bytes that the
    encoding does not know are lone surrogates in ``text``, and come out of ``TextFile.raw`` as they went in."""

    number: int
    text: str
    whole: bool = True


class TextFile:
    """One pass over a file's lines. Line ends are kept, so that CSV can have them within quotes."""

    def __init__(self, path: Path, encoding: str = "utf-8"):
        """Raises ``Invalid`` where the file cannot be read."""
        self.path = path
        self.encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        self.number = 0
        try:
            stream = path.open("rb")
            self.written = path.stat().st_mtime_ns // 1000
        except OSError as error:
            raise Invalid(f"cannot be read: {error.strerror}", file=str(path)) from None
        zipped = stream.peek(2)[:2] == _GZIP
        self._closing = stream
        data: BinaryIO = gzip.GzipFile(fileobj=stream) if zipped else stream  # type: ignore[assignment]
        self._text = io.TextIOWrapper(data, self.encoding, errors="surrogateescape", newline="")

    def next(self) -> Line | None:
        """The next line, None at the end. Raises ``Invalid`` where a gzipped file is damaged or ends in the middle."""
        try:
            text = self._text.readline(MAX_LINE)
            if not text:
                return None
            self.number += 1
            if len(text) < MAX_LINE or text.endswith("\n"):
                return Line(self.number, text)
            rest = text
            while rest and not rest.endswith("\n"):
                rest = self._text.readline(MAX_LINE)
            return Line(self.number, text, whole=False)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = f"the gzipped file is damaged or ends in the middle: {error}"
            raise Invalid(reason, file=str(self.path), line=self.number + 1) from None
        except UnicodeError as error:
            raise Invalid(f"not {self.encoding}: {error}", file=str(self.path), line=self.number + 1) from None
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read on: {error.strerror or error}") from None

    def raw(self, text: str) -> bytes:
        """The bytes that a text was."""
        encoding = "utf-8" if self.encoding == "utf-8-sig" else self.encoding
        return text.encode(encoding, "surrogateescape")

    def close(self) -> None:
        self._text.close()
        self._closing.close()


def undecodable(text: str) -> bool:
    """Whether bytes stood there that the encoding does not know."""
    return not text.isascii() and any(0xDC80 <= ord(char) <= 0xDCFF for char in text)
