"""Positions of files: which of them, if any, a file that is found goes on from (``file_identity`` says why)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from collectors.formats.contract import Format
from collectors.inputs.file_content import Content
from collectors.inputs.file_identity import Position, Prefix, position_of
from collectors.inputs.live import Positions
from schemas.times import DAY

_KEPT = 2000  # positions of files that are gone: a copy of one may still turn up
_KEPT_FOR = 90 * DAY
_CHUNK = 256 * 1024


class FilePositions:
    """What is saved of files, found by content."""

    def __init__(self, saved: Positions, layout: Format):
        self._saved = saved
        self._layout = layout
        self._known: dict[str, Position] = {}
        for key, data in saved.all().items():
            position = position_of(data)
            if position is not None:
                self._known[key] = position
        self._keys = count(max((int(key) for key in saved.all() if key.isdecimal()), default=0) + 1)

    def unfinished(self) -> dict[str, Position]:
        """Files whose end was not seen yet, by key."""
        return {key: position for key, position in self._known.items() if position.ended < 0}

    def remember(self, key: str, position: Position) -> None:
        """For this run alone: what is not acknowledged is not saved."""
        self._known[key] = position

    def put(self, key: str, position: Position) -> None:
        known = self._known.get(key)
        if known is None or known.offset <= position.offset:
            self._known[key] = position
        self._saved.put(key, position.saved())

    def give_up(self, key: str, position: Position) -> None:
        """It is looked for no longer; a copy of it that turns up is still known."""
        self._known[key] = position._replace(ended=position.offset)
        if self._saved.get(key) is not None:
            self._saved.put(key, {**self._saved.get(key), "ended": position.offset})  # type: ignore[dict-item]

    def take_up(
        self, content: Content, live: set[str], *, only: str | None = None
    ) -> tuple[str, Position | None, Prefix | None]:
        """The key under which a file's position is kept, and the position from which it goes on, if there is one; leaves
        ``content`` there. ``live``: keys of files that are open. ``only``: the one position that is asked for.

        Raises `Damaged`, `OSError`.
        """
        if not content.tell_kind():
            return str(next(self._keys)), None, None
        candidates = [
            (key, position) for key, position in self._known.items() if only in (None, key) and position.offset
        ]
        status = content.stat()
        same = [pair for pair in candidates if (pair[1].device, pair[1].inode) == (status.st_dev, status.st_ino)]
        found = self._same_file(content, same) if content.kind == "plain" else None
        found = found or self._same_content(content, candidates)
        if found is None:
            content.rewind()
            content.tell_kind(last=True)
            return str(next(self._keys)), None, None
        key, position, prefix = found
        if content.offset != position.offset:
            content.rewind()
            content.tell_kind(last=True)
            content.skip(position.offset)
        if key in live or (position.device, position.inode) != (status.st_dev, status.st_ino):
            if key not in live and position.ended < 0:
                self.give_up(key, position)
            key = str(next(self._keys))
        return key, position, prefix

    @staticmethod
    def _same_file(content: Content, candidates: list[tuple[str, Position]]) -> tuple[str, Position, Prefix] | None:
        """By the blocks before the position."""
        for key, position in sorted(candidates, key=lambda pair: -pair[1].offset):
            prefix = position.prefix
            if content.stat().st_size < position.offset or not content.skip(prefix.offset):
                continue
            _read_up_to(content, prefix, position.offset)
            if prefix.offset == position.offset and prefix.digest() == position.digest:
                return key, position, prefix
        return None

    @staticmethod
    def _same_content(content: Content, candidates: list[tuple[str, Position]]) -> tuple[str, Position, Prefix] | None:
        """By all bytes from the first on: of several that fit the one that is furthest."""
        content.rewind()
        content.tell_kind(last=True)
        prefix, found = Prefix(), None
        heads = {(position.first, position.first_digest) for _, position in candidates}
        places = {(position.offset, position.digest): (key, position) for key, position in candidates}
        furthest = max((first for first, _ in heads), default=0)
        alive: set[int] = set()  # offsets of those whose first record is this file's
        for mark in sorted({offset for offset, _ in (*heads, *places)}):
            if mark > furthest and mark > max(alive, default=0):
                break
            _read_up_to(content, prefix, mark)
            if prefix.offset < mark:
                break
            here = (mark, prefix.digest())
            if here in heads:
                alive |= {one.offset for _, one in candidates if (one.first, one.first_digest) == here}
            if here in places:
                found = (*places[here], prefix.copy())
        return found

    def prune(self, now: int, there: Iterable[tuple[int, int]]) -> None:
        """Forget files that are gone for long."""
        if len(self._known) <= _KEPT and all(now - one.seen < _KEPT_FOR for one in self._known.values()):
            return
        kept = set(there)
        gone = [
            (one.seen, key)
            for key, one in self._known.items()
            if (one.device, one.inode) not in kept and one.ended >= 0
        ]
        surplus = len(self._known) - _KEPT
        for index, (seen, key) in enumerate(sorted(gone)):
            if index < surplus or now - seen >= _KEPT_FOR:
                del self._known[key]
                self._saved.drop(key)


def _read_up_to(content: Content, prefix: Prefix, offset: int) -> None:
    while prefix.offset < offset:
        data = content.read(min(_CHUNK, offset - prefix.offset))
        if not data:
            return
        prefix.update(data)
