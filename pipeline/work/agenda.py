"""Agenda: who is to be judged again when which clock has passed what (DESIGN.md §4).

One heap per system, drained when that system's clock advances: no scan, no polling, and a two-hour blackout costs nothing
while it lasts. What waits on a silent system is due on control time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from pipeline.core.hearing import Knowledge
from pipeline.store.contract import Transaction
from schemas.verdict import Wait


class Agenda:
    """``waiting``: transaction to what it waits for; on a silent system two things: its return, and control time."""

    def __init__(self) -> None:
        self.waiting: dict[Transaction, tuple[Wait, ...]] = {}
        self._heaps: dict[str, list[tuple[int, Transaction]]] = {}
        self._asleep: dict[str, set[Transaction]] = {}
        self._marks: dict[str, tuple[object, ...]] = {}

    def set(self, transaction: Transaction, waits: tuple[Wait, ...], knowledge: Knowledge) -> None:
        """Replace what a transaction waits for."""
        before = self.waiting.get(transaction, ())
        if not waits:
            if before:
                del self.waiting[transaction]
            return
        self.waiting[transaction] = waits
        for wait in waits:
            if wait.time < _reached(wait.system, knowledge):
                # Judged with this very knowledge and still waiting: due again when the system is heard otherwise.
                self._asleep.setdefault(wait.system, set()).add(transaction)
                self._marks.setdefault(wait.system, _mark(wait.system, knowledge))
            elif wait not in before:
                heapq.heappush(self._heaps.setdefault(wait.system, []), (wait.time, transaction))

    def restore(self, transaction: Transaction, waits: Iterable[Wait]) -> None:
        """Take over what somebody else left: whatever is over by now was not judged with what we know."""
        self.waiting[transaction] = tuple(waits)
        for wait in self.waiting[transaction]:
            heapq.heappush(self._heaps.setdefault(wait.system, []), (wait.time, transaction))

    def drop(self, transactions: Iterable[Transaction]) -> None:
        for transaction in transactions:
            self.waiting.pop(transaction, None)

    def due(self, knowledge: Knowledge, limit: int) -> list[Transaction]:
        """At most ``limit`` transactions whose wait is over, each once; earliest first within a system."""
        found: dict[Transaction, None] = {}
        self._wake(knowledge)
        for system, heap in self._heaps.items():
            reached = _reached(system, knowledge)
            while heap and heap[0][0] < reached and len(found) < limit:
                time, transaction = heapq.heappop(heap)
                waits = self.waiting.get(transaction)
                if waits is not None and (system, time) in waits:
                    found[transaction] = None
        return list(found)

    def _wake(self, knowledge: Knowledge) -> None:
        """A system is heard otherwise than when its sleepers were judged: they are due once more."""
        for system, sleepers in list(self._asleep.items()):
            if self._marks[system] == _mark(system, knowledge):
                continue
            del self._marks[system], self._asleep[system]
            heap = self._heaps.setdefault(system, [])
            for transaction in sleepers:
                for wait in self.waiting.get(transaction, ()):
                    if wait.system == system:
                        heapq.heappush(heap, (wait.time, transaction))


def _mark(system: str, knowledge: Knowledge) -> tuple[object, ...]:
    hearing = knowledge.of(system)
    return (hearing.silent, hearing.deaf, hearing.unvouched)


def _reached(system: str, knowledge: Knowledge) -> int:
    hearing = knowledge.of(system)
    return knowledge.control_time if hearing.silent else hearing.clock
