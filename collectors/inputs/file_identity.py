"""What a file is, and what a record of it is called, however it is renamed, copied, truncated or compressed.

**A record's identity** is the digest of all bytes of its file up to and including it (of the content, where the file is
compressed; without the record's own line end). Nothing else goes into it: no name, no inode, no time, and nothing that a crash
could have kept from being saved. So

- a file that is renamed, copied (logrotate's ``copytruncate``), compressed, moved to another disk or sent again under a new name
  gives the same ids again, and what is read twice counts once;
- another file under a name or an inode that was used before gives other ids;
- two files with equal headers are told apart from the first byte on that differs. As far as two files of one collector are equal
  from their beginning on they are said to be the same, deliberately: their records are equal in all that was read, and nothing but
  a name would tell yesterday's file, sent again, from another one. (A file sent again with a line more at its beginning is another
  file: there the records need a ``key`` of their own.)

**A position** is where reading goes on. It is taken up only where the file's bytes before it have the digest that was saved: for a
file under the same device and inode, of the last blocks before it; for any other of all bytes from the first on. No inode, name
or time is believed, so none can make us skip what was not read: where the digest differs, the file is read from its beginning,
and only ids decide what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

BLOCK = 64 * 1024
"""Bytes after which the digest begins anew from the last one, so that it can be saved and taken up."""
_SIZE = 16


class Prefix:
    """The digest of a stream's bytes from the first one on.

    A chain: each block's digest begins with that of the block before. ``hashlib`` cannot save a digest in the middle, so a
    reader that goes on reads again from the last block's beginning, at most 64 KiB.
    """

    __slots__ = ("_hash", "_room", "base", "before", "offset")

    def __init__(self, block: int = 0, base: bytes = b""):
        """Begin at the beginning of a block; ``base``: the digest of all before it."""
        self.offset = block * BLOCK
        self.before = base  # of the block before this one, as far as it is known
        self._begin(base)

    def _begin(self, base: bytes) -> None:
        self.base = base
        self._hash = hashlib.blake2b(base, digest_size=_SIZE)
        self._room = BLOCK

    def update(self, data: bytes) -> None:
        self.offset += len(data)
        if len(data) < self._room:
            self._hash.update(data)
            self._room -= len(data)
            return
        view = memoryview(data)
        while len(view) >= self._room:
            self._hash.update(view[: self._room])
            view = view[self._room :]
            self.before = self.base
            self._begin(self._hash.digest())
        self._hash.update(view)
        self._room -= len(view)

    def digest(self) -> str:
        """Of all bytes so far, hexadecimal."""
        return self._hash.hexdigest()

    def with_record(self, data: bytes) -> str:
        """The digest as it would be with ``data``, less the line end that it has, and adds ``data`` as it is."""
        bare = data.rstrip(b"\r\n")
        if len(bare) < self._room:
            ahead = self._hash.copy()
            ahead.update(bare)
            found = ahead.hexdigest()
        else:
            other = self.copy()
            other.update(bare)
            found = other.digest()
        self.update(data)
        return found

    def copy(self) -> Prefix:
        other = Prefix()
        other.base, other.before, other.offset = self.base, self.before, self.offset
        other._hash, other._room = self._hash.copy(), self._room
        return other


class Position(NamedTuple):
    """Where reading of a stream goes on: all records before ``offset`` are acknowledged.

    ``block``, ``base``: a block before the one that ``offset`` is in, and the digest of all bytes before it; so at least 64 KiB are
    looked at again. ``digest``: of all bytes before ``offset``. ``first``, ``first_digest``: the same of the first record's end,
    by which another file is mostly told at once. ``state``: the decoder's. ``ended``: length of the content when its end was taken
    for one (a file read once, a compressed one), -1 where it was not. ``device``, ``inode``, ``path``: where it was seen last.
    ``seen``: µs.
    """

    offset: int = 0
    line: int = 1
    block: int = 0
    base: str = ""
    digest: str = ""
    first: int = 0
    first_digest: str = ""
    state: Mapping[str, Any] = {}
    ended: int = -1
    device: int = 0
    inode: int = 0
    path: str = ""
    seen: int = 0

    def saved(self) -> dict[str, Any]:
        return {**self._asdict(), "state": dict(self.state)}

    def at(self, prefix: Prefix) -> Position:
        """The same with the chain as it is after the last record."""
        whole = prefix.offset // BLOCK
        first, known = self.first or prefix.offset, self.first_digest or prefix.digest()
        return self._replace(
            offset=prefix.offset, block=max(0, whole - 1), base=(prefix.before if whole else b"").hex(),
            digest=prefix.digest(), first=first, first_digest=known,
        )  # fmt: skip

    @property
    def prefix(self) -> Prefix:
        """The chain as of the beginning of ``block``."""
        return Prefix(self.block, bytes.fromhex(self.base))


_NUMBERS = ("offset", "line", "block", "first", "ended", "device", "inode", "seen")


def position_of(data: Mapping[str, Any]) -> Position | None:
    """A saved position; None for what is none."""
    try:
        found = Position(**data)
        sound = (
            isinstance(found.state, dict)
            and all(isinstance(getattr(found, name), int) for name in _NUMBERS)
            and 0 <= found.block * BLOCK <= found.offset
        )
        bytes.fromhex(found.base + found.digest)
    except (TypeError, ValueError):
        return None
    return found if sound else None
