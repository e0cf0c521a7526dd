"""Files: logs that grow, are rotated and compressed, and lists that are dropped into a folder.

What a file and a record are is said in ``file_identity``. A file is looked for by its paths with every poll (by ``stat``, which
every file system has); one that was renamed is read on through its open descriptor until nothing comes any more; one that was
cut off begins anew. A last line without its end waits as long as the file may grow.

``through``: all files were found, could be read, and what stood in them when they were looked at has been handed out.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from collectors.inputs.file_content import Content, Cut, Damaged, open_file
from collectors.inputs.file_positions import FilePositions
from collectors.inputs.file_search import PathPattern, beside, found
from collectors.inputs.file_tail import Tail
from collectors.inputs.live import Context, Parcel, Placed
from collectors.words import several
from schemas.errors import Invalid
from schemas.flow import Duration
from schemas.times import MINUTE, SECOND
from tracer.errors import Unavailable

_BUDGET = 16  # chunks of a poll
_RESCAN = SECOND  # µs, while there is a backlog
_LEAVING = MINUTE  # µs without a byte after which a file that lost its name is done
_AWAKE = 200  # files that are held open although nothing comes


class FileInput(BaseModel):
    """Files to read.

    ``paths``: with ``*``, ``?``, ``[…]`` and ``**`` for folders below; relative ones count from the collector's file. ``exclude``:
    names that are left out. ``folder``: none outside is read, whatever links say; each path's own fixed part where it is not given.
    ``quiet``: µs without a byte after which a record that only the next one would end counts as ended. ``torn_after``: µs without a
    byte after which a file counts as ended, and a last line without its end as what it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    vouches: ClassVar[bool] = True

    paths: Annotated[tuple[PathPattern, ...], BeforeValidator(several), Field(min_length=1, max_length=100)]
    exclude: Annotated[tuple[str, ...], BeforeValidator(several)] = ()
    folder: PathPattern | None = None
    quiet: Duration = 5 * SECOND
    torn_after: Duration = 5 * MINUTE

    def open(self, context: Context) -> LiveFiles:
        return LiveFiles(self, context)


class LiveFiles:
    """The files of one collector, at work."""

    def __init__(self, spec: FileInput, context: Context):
        self.name = ", ".join(spec.paths)
        self.notes: deque[str] = deque(maxlen=100)
        self._spec, self._context = spec, context
        self._positions = FilePositions(context.positions, context.format)
        self._tails: dict[tuple[int, int], Tail] = {}
        self._cut: list[Tail] = []
        self._asleep: dict[tuple[int, int], tuple[int, int]] = {}
        self._complained: set[str] = set()
        self._scanned: int | None = None
        self._through: int | None = None
        self._troubled = False
        self._backlog = False
        self._newest = 0
        self._begun = self._lost = False
        self._unfinished = self._positions.unfinished()

    # What a runner asks

    def poll(self, timeout: float) -> list[Parcel]:
        now = self._context.clock()
        if not self._backlog or self._scanned is None or now - self._scanned >= _RESCAN:
            self._scan(now)
        parcels = list(self._read(now))
        self._vouch()
        if not parcels and timeout > 0 and not self._context.once:
            time.sleep(timeout)
        return parcels

    def through(self) -> int | None:
        return self._through

    @property
    def continuous(self) -> bool:
        """Whether it goes on where the last run ended: nothing that this one had begun to read is out of sight."""
        if not self._begun:
            self._scan(self._context.clock())
        return not self._lost

    @property
    def finished(self) -> bool:
        return self._context.once and self._begun and all(tail.ended for tail in self._tails.values())

    def close(self) -> None:
        for tail in (*self._tails.values(), *self._cut):
            tail.close()
        self._tails.clear()

    # Looking for files

    def _scan(self, now: int) -> None:
        if self._context.once and self._begun:
            return
        before, self._troubled, seen = self._scanned, False, set()
        for path, folder in found(self._spec, self._context.base, self._trouble):
            try:
                status = path.stat()
                identity = (status.st_dev, status.st_ino)
                if identity in seen:
                    continue
                self._see(identity, path, folder, status, now, before)
                # After it was found to be ours: a link to it from outside the folder would hide it.
                seen.add(identity)
                self._newest = max(self._newest, status.st_mtime_ns // 1000)
            except Invalid as error:
                self._trouble(str(error))
            except (Unavailable, OSError) as error:
                self._trouble(str(error))
        for identity, tail in self._tails.items():
            tail.look(now)
            if identity in seen:
                tail.leaving = None
            elif tail.leaving is None:
                tail.leaving = now
        self._asleep = {identity: known for identity, known in self._asleep.items() if identity in seen}
        if self._unfinished:
            self._look_for_rest(now)
        self._scanned, self._begun = now, True
        self._positions.prune(now, seen)

    def _see(
        self, identity: tuple[int, int], path: Path, folder: Path, status: os.stat_result, now: int, before: int | None
    ) -> None:
        tail = self._tails.get(identity)
        if tail is not None:
            tail.path = path
            return
        if self._asleep.get(identity) == (status.st_size, status.st_mtime_ns):
            return
        self._asleep.pop(identity, None)
        tail = self._opened(path, folder, now, before)
        if tail is not None:
            self._tails[tail.device, tail.inode] = tail

    def _opened(self, path: Path, folder: Path, now: int, before: int | None) -> Tail | None:
        content = Content(open_file(path, folder))
        try:
            if not content.tell_kind(last=self._context.once) and content.stat().st_size:
                content.kind = ""
            key, position, prefix = self._positions.take_up(content, set(self._live()))
            if position is not None:
                self._unfinished.pop(key, None)
                for other, unfinished in list(self._unfinished.items()):
                    if unfinished.offset <= position.offset and unfinished.first_digest == position.first_digest:
                        del self._unfinished[other]
        except Damaged as error:
            content.close()
            self._trouble(f"{path}: {error}")
            return None
        except Cut:  # while it was looked at: with the next look it is another stream
            content.close()
            self._troubled = True
            return None
        except BaseException:
            content.close()
            raise
        return Tail(key, path, content, self._context.format, position, prefix, now=now, through=before)

    def _live(self) -> Iterator[str]:
        yield from (tail.key for tail in (*self._tails.values(), *self._cut))

    def _look_for_rest(self, now: int) -> None:
        """What was renamed or copied out of the paths' sight while nobody looked, or just before it was cut off: beside it."""
        for key, position in list(self._unfinished.items()):
            place = Path(position.path)
            for path in beside(place):
                try:
                    status = path.stat()
                    if (status.st_dev, status.st_ino) in self._tails or path.is_symlink():
                        continue
                    content = Content(open_file(path, place.parent.resolve()))
                except (Invalid, Unavailable, OSError):
                    continue
                tail = self._rest(key, path, content, now)
                if tail is not None:
                    self._tails[tail.device, tail.inode] = tail
                    break
            if self._unfinished.pop(key, None) is not None:
                self.notes.append(
                    f"{position.path}: what was written after byte {position.offset} is nowhere to be found"
                )
                self._positions.give_up(key, position)
                self._lost = True

    def _rest(self, key: str, path: Path, content: Content, now: int) -> Tail | None:
        try:
            content.tell_kind(last=True)
            found = self._positions.take_up(content, set(self._live()), only=key)
        except (Damaged, Cut, OSError):
            found = None
        if found is None or found[1] is None:
            content.close()
            return None
        self._unfinished.pop(key, None)
        tail = Tail(found[0], path, content, self._context.format, found[1], found[2], now=now, through=None)
        tail.leaving = now
        return tail

    def _trouble(self, text: str) -> None:
        """What keeps it from vouching; said once until it is over."""
        self._troubled = True
        if text not in self._complained and len(self._complained) < 1000:
            self._complained.add(text)
            self.notes.append(text)

    # Reading

    def _read(self, now: int) -> Iterator[Parcel]:
        self._backlog = False
        left = _BUDGET
        for identity, tail in list(self._tails.items()):
            share = max(1, left // 2) if len(self._tails) > 1 else left
            try:
                while share > 0 and (items := tail.read(now)) is not None:
                    share, left = share - 1, left - 1
                    yield self._parcel(tail, items, now)
                if share <= 0:
                    self._backlog = True
                elif not tail.ended:
                    yield from self._still(tail, now)
            except Cut:
                self._cut_off(identity, tail, now)
            except Unavailable as error:
                self._trouble(str(error))
            self._let_go(identity, tail, now)
            if left <= 0:
                self._backlog = True
                break
        if self._backlog:  # whoever was not asked this time is asked first
            self._tails = {
                **{key: tail for key, tail in self._tails.items() if key != identity},
                **_only(self._tails, identity),
            }

    def _still(self, tail: Tail, now: int) -> Iterator[Parcel]:
        """A file that gives no more bytes now."""
        idle = now - tail.moved
        torn = idle >= self._spec.torn_after or (
            tail.leaving is not None and now - max(tail.leaving, tail.moved) >= _LEAVING
        )
        items: list[Placed] = []
        unsure = tail.content.kind != "plain" and not tail.empty
        if self._context.once or (torn and (tail.held or tail.leaving is not None or unsure)):
            incomplete = tail.content.kind not in ("plain", "") and not tail.content.complete
            items = tail.damaged(f"the {tail.content.kind} file ends in the middle") if incomplete else tail.end()
            yield self._parcel(tail, items, now)
        elif tail.held and idle >= self._spec.quiet and (items := tail.quiet()):
            yield self._parcel(tail, items, now)

    def _parcel(self, tail: Tail, items: list[Placed], now: int) -> Parcel:
        position = tail.remembered(now)

        def settle(error: Exception | None) -> None:
            if error is None:
                self._positions.put(tail.key, position)

        return Parcel("", items, str(tail.path), around=min(tail.written, now), settle=settle)

    def _cut_off(self, identity: tuple[int, int], tail: Tail, now: int) -> None:
        """Its position stays, for a copy that has what we did not see of it."""
        self.notes.append(f"{tail.path}: was cut off and begins anew; {tail.position.offset} bytes of it had been read")
        del self._tails[identity]
        tail.close()
        self._unfinished[tail.key] = tail.remembered(now)
        self._positions.remember(tail.key, tail.remembered(now))
        self._backlog = True
        self._scanned = min(self._scanned or now, now - _RESCAN)

    def _let_go(self, identity: tuple[int, int], tail: Tail, now: int) -> None:
        """Close what nothing comes from any more."""
        if identity not in self._tails or self._context.once:
            return
        gone = tail.leaving is not None and tail.ended
        resting = tail.ended or (not tail.held and len(self._tails) > _AWAKE and now - tail.moved >= _LEAVING)
        if gone or (resting and tail.leaving is None):
            status = tail.content.stat()
            if not gone:
                self._asleep[identity] = (status.st_size, status.st_mtime_ns)
            del self._tails[identity]
            tail.close()

    def _vouch(self) -> None:
        if self._troubled or self._unfinished:
            return
        if self._context.once:
            self._through = min(self._newest, self._context.clock()) if self.finished and self._newest else None
            return
        throughs = [tail.through for tail in self._tails.values()]
        if self._scanned is None or None in throughs:
            return
        reached = min((through for through in throughs if through is not None), default=self._scanned)
        self._through = max(self._through or 0, reached)


def _only(tails: dict[tuple[int, int], Tail], identity: tuple[int, int]) -> dict[tuple[int, int], Tail]:
    return {identity: tails[identity]} if identity in tails else {}
