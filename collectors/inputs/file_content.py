"""A file's content as it can be read now, plain or compressed, from the beginning on; small reads, bounded output.

A compressed file is read as a growing one is: what is not there yet is waited for, and only a complete one has an end.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from schemas.errors import Invalid
from tracer.errors import Unavailable

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
_READ = 64 * 1024
_EDGE = 256


class Cut(Exception):  # noqa: N818  (no error: what is under the file's name is another stream now)
    """The file was cut off: what it holds now is another stream. A compressed file is written once, and not looked at again."""


class Damaged(Exception):  # noqa: N818  (told as an unreadable record)
    """What is compressed cannot be read on."""


_Decompressor = Any  # zlib, bz2 and lzma spell alike what the standard library's stubs give three types


def open_file(path: Path, folder: Path) -> int:
    """A descriptor of a regular file within ``folder``, links followed. ``folder``: resolved.

    Raises ``Invalid`` where it is none or lies elsewhere, ``Unavailable`` where it cannot be opened (now).
    """
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder):
            raise Invalid(f"is a link out of {folder}, which is not followed; declare a wider `folder`", file=str(path))
        # Not blocking: a named pipe would wait for its writer.
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except RuntimeError:
        raise Invalid("is a link to itself", file=str(path)) from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Invalid("is no regular file", file=str(path))
    return descriptor


class Content:
    """Bytes of an open file, uncompressed.

    Attributes:
        offset: of the content, where the next read begins.
        kind: ``plain``, ``gzip``, ``bz2``, ``xz``; "" as long as the file is too short to tell.
        complete: compressed, and read to its end.
    """

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self.rewind()

    def rewind(self) -> None:
        self.offset = 0
        self.complete = False
        self.kind = ""
        self._place = 0  # in the file as it is stored
        self._waiting = b""
        self._stream: _Decompressor | None = None
        self._edge = self._head = b""

    def stat(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    def tell_kind(self, *, last: bool = False) -> str:
        """``last``: what is too short now remains so."""
        if not self.kind:
            head = os.pread(self.descriptor, 6, 0)
            found = [kind for magic, kind in _MAGIC.items() if head.startswith(magic)]
            if found:
                self.kind = found[0]
            elif last or (head and not any(magic.startswith(head) for magic in _MAGIC)):
                self.kind = "plain"
        return self.kind

    def skip(self, offset: int) -> bool:
        """Go to an offset. False where the content is shorter. Raises `Damaged`."""
        if self.kind == "plain":
            self.offset = self._place = offset
            if offset > self.stat().st_size:
                return False
            begin = max(0, offset - _EDGE)
            self._edge = os.pread(self.descriptor, offset - begin, begin)
            self._head = os.pread(self.descriptor, min(offset, _EDGE), 0)
            return len(self._edge) == offset - begin
        while self.offset < offset:
            if not self.read(min(_READ, offset - self.offset)):
                return False
        return True

    def read(self, size: int = _READ) -> bytes:
        """The next bytes, at most ``size``; b"" where there are none now. Raises `Damaged`, `Cut`, `OSError`."""
        data = self._plain(size) if self.kind == "plain" else self._decompressed(size)
        self.offset += len(data)
        return data

    def _plain(self, size: int) -> bytes:
        """With what was read last before it, in one call: where that stands no more the file was cut off, even where it has
        grown beyond since."""
        known = len(self._edge)
        found = os.pread(self.descriptor, known + size, self._place - known)
        head = os.pread(self.descriptor, len(self._head), 0)
        if found[:known] != self._edge or head != self._head:
            raise Cut
        self._edge = found[-_EDGE:]
        data = found[known:]
        self._place += len(data)
        if len(self._head) < _EDGE and self.offset == len(self._head):
            self._head += data[: _EDGE - len(self._head)]
        return data

    def _decompressed(self, size: int) -> bytes:
        while True:
            if self._stream is None or self._stream.eof:
                if not self._next_member():
                    return b""
            elif not self._waiting and getattr(self._stream, "needs_input", True):
                self._waiting = self._stored()
            try:
                data, self._waiting = self._step(size)
            except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
                raise Damaged(f"the {self.kind} file is damaged: {error}") from None
            if data:
                return data
            if not self._waiting and not self._more():
                assert self._stream is not None
                self.complete = self._stream.eof
                return b""

    def _step(self, size: int) -> tuple[bytes, bytes]:
        stream = self._stream
        assert stream is not None
        data = stream.decompress(self._waiting, size)
        if stream.eof:
            return data, stream.unused_data
        # zlib hands back what it did not take, the others keep it.
        return data, getattr(stream, "unconsumed_tail", b"")

    def _next_member(self) -> bool:
        """Begin a further member, where one follows: log rotation appends them, and tapes pad with zeros."""
        waiting = self._waiting or self._stored()
        if self._stream is not None:
            while waiting and not waiting.strip(b"\0"):
                waiting = self._stored()
            waiting = waiting.lstrip(b"\0")
        self._waiting = waiting
        if not waiting:
            self.complete = self._stream is not None
            return False
        self._stream = _decompressor(self.kind)
        return True

    def _stored(self) -> bytes:
        data = os.pread(self.descriptor, _READ, self._place)
        self._place += len(data)
        return data

    def _more(self) -> bool:
        return self._place < self.stat().st_size or not getattr(self._stream, "needs_input", True)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _decompressor(kind: str) -> _Decompressor:
    if kind == "gzip":
        return zlib.decompressobj(wbits=31)
    return bz2.BZ2Decompressor() if kind == "bz2" else lzma.LZMADecompressor()
