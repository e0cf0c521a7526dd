"""A partition's share: what was handed out of it, and how far it may be committed. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Part:
    first: int
    end: int
    size: int
    done: bool = False


class Share:
    """One assignment of one partition. Law: `to_commit` never passes an offset whose record is not settled.

    Attributes:
        held: bytes that are handed out and not settled.
    """

    def __init__(self) -> None:
        self.held = 0
        self._parts: dict[int, _Part] = {}
        self._next = 0
        self._ready: int | None = None
        self._rewind: int | None = None

    def begin(self, offset: int) -> None:
        """Read from here on, where nothing was read or committed before."""
        self._ready = offset

    def handed_out(self, first: int, end: int, size: int) -> int:
        """Offsets [``first``, ``end``), ``size`` bytes; the number by which they are settled."""
        number, self._next = self._next, self._next + 1
        self._parts[number] = _Part(first, end, size)
        self.held += size
        return number

    def settled(self, number: int, *, given_up: bool) -> None:
        """What was given up, and all after it, is read once more: it is forgotten here, and settling it does nothing."""
        part = self._parts.get(number)
        if part is None or part.done:
            return
        if given_up:
            self._rewind = part.first if self._rewind is None else min(self._rewind, part.first)
            for later in [each for each in self._parts if each >= number]:
                self._forget(later)
            return
        part.done = True
        self.held -= part.size
        while self._parts:
            oldest = next(iter(self._parts))
            if not self._parts[oldest].done:
                return
            self._ready = self._parts.pop(oldest).end

    def _forget(self, number: int) -> None:
        part = self._parts.pop(number)
        if not part.done:
            self.held -= part.size

    def take_rewind(self) -> int | None:
        """Where reading has to begin anew, once."""
        offset, self._rewind = self._rewind, None
        return offset

    def to_commit(self) -> int | None:
        """The offset behind all that is settled without a gap; None where it is committed already."""
        return self._ready

    def committed(self, offset: int) -> None:
        if self._ready == offset:
            self._ready = None
