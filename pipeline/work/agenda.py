"""Agenda: who is to be judged again when which clock has passed what (DESIGN.md §4).

One calendar per system, drained when that system's clock advances: no scan, no polling, and a two-hour blackout costs nothing
while it lasts. What waits on a silent system is due on control time.

A million open transactions wait for weeks, so what is far ahead lies by the minute and only the minutes at hand are in order: a
wait took 64 bytes in a heap and takes 9, and what a transaction waits for 190 and takes 90. Most are done long before what they
wait for is due: a page of which more than half is over is written anew, so that it holds no more than twice those who wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from pipeline.core.hearing import Knowledge
from pipeline.store.contract import Transaction
from schemas.verdict import Wait

# A page of the calendar is 2^26 µs, 67 seconds.
_PAGE = 26
# A wait as one number: its time, and below it the number of its system.
_SYSTEM = 16
_MASK = (1 << _SYSTEM) - 1


class Calendar:
    """The waits on one system: ``_pages`` by page number, not in order within; ``_near``: a heap of those taken out of pages;
    ``_over``: page number to how many in it wait no more, at most."""

    __slots__ = ("_far", "_near", "_opened", "_over", "_pages", "number", "system")

    def __init__(self, system: str, number: int):
        self.system, self.number = system, number
        self._pages: dict[int, list[Transaction]] = {}
        self._far: list[int] = []
        self._near: list[tuple[int, Transaction]] = []
        self._opened: int | None = None
        self._over: dict[int, int] = {}

    def add(self, time: int, transaction: Transaction) -> None:
        page = time >> _PAGE
        if self._opened is not None and page <= self._opened:
            heapq.heappush(self._near, (time, transaction))
            return
        found = self._pages.get(page)
        if found is None:
            self._pages[page] = [transaction]
            heapq.heappush(self._far, page)
        else:
            found.append(transaction)

    def leave(self, time: int, waiting: dict[Transaction, tuple[int, ...]]) -> None:
        """One who waited until then does so no more, which ``waiting`` knows already."""
        page = time >> _PAGE
        found = self._pages.get(page)
        if not found:
            return
        over = self._over.get(page, 0) + 1
        if over * 2 <= len(found):
            self._over[page] = over
            return
        self._over[page] = 0
        still: dict[Transaction, None] = {}
        for transaction in found:
            for code in waiting.get(transaction, ()):
                if code & _MASK == self.number and code >> _SYSTEM >> _PAGE == page:
                    still[transaction] = None
        self._pages[page] = list(still)

    def pop(self, reached: int, waiting: dict[Transaction, tuple[int, ...]]) -> tuple[int, Transaction] | None:
        """The earliest whose time is before ``reached``; it may wait for something else by now."""
        near, far = self._near, self._far
        while far and far[0] << _PAGE < reached and (not near or near[0][0] >= far[0] << _PAGE):
            self._open(heapq.heappop(far), waiting)
        return heapq.heappop(near) if near and near[0][0] < reached else None

    def _open(self, page: int, waiting: dict[Transaction, tuple[int, ...]]) -> None:
        self._opened = page
        self._over.pop(page, None)
        for transaction in dict.fromkeys(self._pages.pop(page)):
            for code in waiting.get(transaction, ()):
                if code & _MASK == self.number and code >> _SYSTEM >> _PAGE == page:
                    self._near.append((code >> _SYSTEM, transaction))
        heapq.heapify(self._near)


class Agenda:
    """What transactions wait for; on a silent system two things: its return, and control time."""

    def __init__(self) -> None:
        self._waiting: dict[Transaction, tuple[int, ...]] = {}
        self._calendars: dict[str, Calendar] = {}
        self._numbered: list[Calendar] = []
        self._asleep: dict[str, set[Transaction]] = {}
        self._marks: dict[str, tuple[object, ...]] = {}

    def __len__(self) -> int:
        """How many transactions wait."""
        return len(self._waiting)

    def set(self, transaction: Transaction, waits: Iterable[Wait], knowledge: Knowledge) -> None:
        """Replace what a transaction waits for."""
        before = self._waiting.get(transaction, ())
        codes = []
        for system, time in waits:
            calendar = self._calendar(system)
            code = time << _SYSTEM | calendar.number
            codes.append(code)
            if time < _reached(system, knowledge):
                # Judged with this very knowledge and still waiting: due again when the system is heard otherwise.
                self._asleep.setdefault(system, set()).add(transaction)
                self._marks.setdefault(system, _mark(system, knowledge))
            elif code not in before:
                calendar.add(time, transaction)
        if codes:
            self._waiting[transaction] = tuple(codes)
        elif before:
            del self._waiting[transaction]
        if before:
            self._leave(transaction, before, codes)

    def _leave(self, transaction: Transaction, before: Iterable[int], codes: Collection[int]) -> None:
        """Of what a transaction waited for these waits are left."""
        for code in before:
            if code in codes:
                continue
            calendar = self._numbered[code & _MASK]
            calendar.leave(code >> _SYSTEM, self._waiting)
            sleepers = self._asleep.get(calendar.system)
            if sleepers and all(other & _MASK != calendar.number for other in codes):
                sleepers.discard(transaction)

    def restore(self, transaction: Transaction, waits: Iterable[Wait]) -> None:
        """Take over what somebody else left, beside what was restored already (another flow's): whatever is over by now was not
        judged with what we know."""
        codes = self._waiting.get(transaction, ())
        for system, time in waits:
            calendar = self._calendar(system)
            code = time << _SYSTEM | calendar.number
            if code not in codes:
                codes += (code,)
                calendar.add(time, transaction)
        if codes:
            self._waiting[transaction] = codes

    def drop(self, transactions: Iterable[Transaction]) -> None:
        """They wait for nothing any more."""
        for transaction in transactions:
            self._leave(transaction, self._waiting.pop(transaction, ()), ())

    def due(self, knowledge: Knowledge, limit: int) -> list[Transaction]:
        """At most ``limit`` transactions whose wait is over, each once; earliest first within a system."""
        found: dict[Transaction, None] = {}
        self._wake(knowledge)
        waiting = self._waiting
        for system, calendar in self._calendars.items():
            reached = _reached(system, knowledge)
            while len(found) < limit and (over := calendar.pop(reached, waiting)) is not None:
                time, transaction = over
                if time << _SYSTEM | calendar.number in waiting.get(transaction, ()):
                    found[transaction] = None
        return list(found)

    def _calendar(self, system: str) -> Calendar:
        found = self._calendars.get(system)
        if found is None:
            found = self._calendars[system] = Calendar(system, len(self._calendars))
            assert found.number <= _MASK
            self._numbered.append(found)
        return found

    def _wake(self, knowledge: Knowledge) -> None:
        """A system is heard otherwise than when its sleepers were judged: they are due once more."""
        for system, sleepers in list(self._asleep.items()):
            if self._marks[system] == _mark(system, knowledge):
                continue
            del self._marks[system], self._asleep[system]
            calendar = self._calendars[system]
            for transaction in sleepers:
                for code in self._waiting.get(transaction, ()):
                    if code & _MASK == calendar.number:
                        calendar.add(code >> _SYSTEM, transaction)
                        # What it waits for beside that stands there already.
                        calendar.leave(code >> _SYSTEM, self._waiting)


def _mark(system: str, knowledge: Knowledge) -> tuple[object, ...]:
    hearing = knowledge.of(system)
    return (hearing.silent, hearing.deaf, hearing.unvouched)


def _reached(system: str, knowledge: Knowledge) -> int:
    hearing = knowledge.of(system)
    return knowledge.control_time if hearing.silent else hearing.clock
