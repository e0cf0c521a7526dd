"""Leaving: what a batch brings that is not to stay, or sees to it that something goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.core.ranges import union
from pipeline.store.accounts import AccountRow
from pipeline.store.contract import Alias, EventRow, KeyRow, Transaction
from schemas.joined import Forget
from schemas.wire import Observed


@dataclass(slots=True)
class Leaving:
    """``forgets``: what people, and owners of transactions, want gone, with the partition that it was read in. ``tainted``:
    transactions that live here (in which partition) and that an event with a forgotten key names. ``aliases``: those of which
    a claim was refused because it is a forgotten one's. ``refused``: events that are dropped unstored. ``late``: events that came
    after retention. ``keys``: rows by which generations of a number are found, to be written before their events."""

    forgets: list[tuple[int, Forget]] = field(default_factory=list)
    tainted: dict[Transaction, int] = field(default_factory=dict)
    aliases: dict[Alias, int] = field(default_factory=dict)
    refused: list[Observed] = field(default_factory=list)
    late: list[EventRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)

    @property
    def erasing(self) -> bool:
        """Whether anything has to be deleted."""
        return bool(self.forgets or self.tainted or self.aliases)


def accounts_of(numbers: Iterable[tuple[str, int, int]], how: str, at: int) -> list[AccountRow]:
    """Rows for these (source, epoch, running number), in ranges; 0 is no number, and stays behind as well."""
    by_epoch: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for source, epoch, seq in numbers:
        by_epoch.setdefault((source, epoch), []).append((seq, seq))
    return [AccountRow(*key, first, last, how, at) for key, own in by_epoch.items() for first, last in union(own)]


def numbers_in(events: Iterable[Observed]) -> list[tuple[str, int, int]]:
    return [(event.source, event.epoch, event.seq) for event in events]
