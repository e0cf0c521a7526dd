"""One open file being read: how far, whether to its end, and whether it is still the same."""

from __future__ import annotations

import os
from pathlib import Path

from collectors.formats.contract import Format
from collectors.inputs.file_content import Content, Damaged
from collectors.inputs.file_identity import Position, Prefix
from collectors.inputs.live import Placed
from collectors.inputs.stream import Stream
from tracer.errors import Unavailable

CHUNK = 64 * 1024
_BLANKS = 64


class Tail:
    """Reads one file from a position on.

    Attributes:
        key: under which its position is saved.
        device, inode: of the file.
        through: µs; all that stood in it before has been handed out. None: nothing can be said yet.
        moved: µs, when it last gave bytes.
        ended: it was read to an end that was taken for one, and gives nothing more.
        leaving: µs since when no path leads to it any more; None while one does.
    """

    def __init__(
        self, key: str, path: Path, content: Content, layout: Format, position: Position | None, prefix: Prefix | None,
        *, now: int, through: int | None,
    ):  # fmt: skip
        status = content.stat()
        self.key, self.path, self.content = key, path, content
        self.device, self.inode = status.st_dev, status.st_ino
        self.through, self.moved = through, now
        self.leaving: int | None = None
        self.ended = False
        self._known = (position or Position()).ended
        self._stream = Stream(layout, position, prefix)
        self._target = (now, self._size())

    def _size(self) -> int:
        """Bytes of a plain file, or one in which nothing stands yet; of a compressed one not known before its end."""
        size = self.content.stat().st_size
        return size if self.content.kind == "plain" or not size else -1

    @property
    def position(self) -> Position:
        """Behind the last record that was handed out."""
        return self._stream.position

    @property
    def written(self) -> int:
        """µs, when the file was last written."""
        return self.content.stat().st_mtime_ns // 1000

    @property
    def empty(self) -> bool:
        """Nothing stands in it yet."""
        return not self.content.stat().st_size

    @property
    def held(self) -> int:
        return self._stream.held

    def look(self, now: int) -> None:
        """A new look at the file: what stands in it by now is what the next ``through`` waits for."""
        if self.ended and self._size() > self._stream.fed:
            self.ended = False
        if self._reached():
            self._target = (now, self._size())
            self._reached()

    def _reached(self) -> bool:
        """Whether all that stood in the file when it was last looked at has been handed out."""
        when, size = self._target
        if not self.ended and (size < 0 or self._stream.position.offset < size) and not self._only_blank(size):
            return False
        self.through = max(when, self.through or 0)
        return True

    def _only_blank(self, size: int) -> bool:
        """Whether nothing but blanks stands behind the last record, as the line break behind an interchange."""
        rest = size - self._stream.position.offset
        return 0 < rest <= _BLANKS and os.pread(self.content.descriptor, rest, size - rest).isspace()

    def read(self, now: int) -> list[Placed] | None:
        """Items of the next bytes; None where there are none now.

        Raises `Unavailable` where the file cannot be read, `collectors.inputs.file_content.Cut` where it was cut off.
        """
        if self.ended or not self.content.tell_kind():
            return None
        if self._target[1] < 0 and self.content.kind == "plain":
            self._target = (self._target[0], self._size())
        try:
            data = self.content.read(CHUNK)
        except Damaged as error:
            return self.damaged(str(error))
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read on: {error.strerror}") from None
        if not data:
            if self.content.complete:
                return self.end()
            self._reached()
            return None
        self.moved = now
        found = self._stream.feed(data)
        self._reached()
        return found

    def quiet(self) -> list[Placed]:
        """Nothing has come for a while: see `Stream.quiet`."""
        found = self._stream.quiet() if self._stream.held else []
        self._reached()
        return found

    def end(self) -> list[Placed]:
        """Take the end of what there is for the end of all."""
        self.ended = True
        length = self._stream.fed
        found = self._stream.close() if length != self._known else []
        self._known = length
        self._stream.position = self._stream.position._replace(ended=length)
        self._reached()
        return found

    def damaged(self, reason: str) -> list[Placed]:
        """Set aside what is held of a file that cannot be read on."""
        self.ended = True
        length = self._stream.fed
        found = [self._stream.set_aside(reason)] if length != self._known else []
        self._known = length
        self._stream.position = self._stream.position._replace(ended=length)
        self._reached()
        return found

    def remembered(self, now: int) -> Position:
        """The position as it is saved."""
        return self._stream.position._replace(device=self.device, inode=self.inode, path=str(self.path), seen=now)

    def close(self) -> None:
        self.content.close()
