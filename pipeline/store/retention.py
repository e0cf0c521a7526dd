"""The store's contract, second part: how rows leave, and what stays of them (DESIGN.md §7, Store).

Laws: deleting twice is deleting once; what was deleted is in no read that begins after the call; a row that is written again is
there again, so whoever deletes says first, by a tombstone, that it may not come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pipeline.store.contract import Alias, EventRow, Transaction, VerdictRow


class TombstoneRow(NamedTuple):
    """What stays of a transaction or a person. ``digest``: the value or a salted hash of it, as whoever writes decides.

    ``kind``: expired, forgotten or recycled. ``ended_at``: µs, the transaction's end, 0 where there was none. ``until``: µs, from
    when on the tombstone may go itself. ``at``: µs, when it was written. The greatest ``version`` per (key_type, digest) counts.
    """

    key_type: str
    digest: str
    kind: str
    ended_at: int
    until: int
    at: int
    version: int


class Retention(Protocol):
    """``erase``: for a person's data. True rewrites the files that held the rows before it returns (6 s where a part has 5M
    events); the database removes the old files some eight minutes later, while it runs. False hides the rows at once (0.4 s
    there) and leaves the rest to merges."""

    def expired_candidates(self, partitions: Sequence[int], of: int, before: int, limit: int) -> list[VerdictRow]:
        """All winning verdicts of at most ``limit`` transactions living in these of ``of`` partitions, none of whose verdicts is
        open and all of which ended, before ``before`` µs; those that ended first come first."""
        ...

    def delete_transactions(self, transactions: Sequence[Transaction], *, erase: bool = False) -> None:
        """From events, verdicts, flips, keys, links that name them and disputes; with ``erase`` also what came after retention.
        Links name a number: of one that comes round ``claims.claims_going`` says which go."""
        ...

    def delete_kept(self, ids: Sequence[tuple[Alias, str]], *, erase: bool = False) -> None:
        """Kept events by alias and ``ParkedRow.id``."""
        ...

    def delete_quarantine(self, ids: Sequence[str], *, erase: bool = False) -> None: ...

    def purge(self) -> None:
        """What was deleted without ``erase`` leaves the disk as well, and whoever is asked to erase needs not look for it."""
        ...

    def expire_kept(self, before: int) -> int:
        """Events kept since before ``before`` µs go; how many."""
        ...

    def expire_tombstones(self, before: int) -> int:
        """Tombstone rows whose ``until`` is before ``before`` µs go; of how many keys they were the word that counts."""
        ...

    def write_tombstones(self, rows: Sequence[TombstoneRow]) -> None: ...

    def load_tombstones(self, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], TombstoneRow]:
        """By (key type, digest), those that are there."""
        ...

    def write_late(self, rows: Sequence[EventRow]) -> None:
        """Events that came after their transaction's retention: recorded, never judged."""
        ...

    def count_late(self) -> int:
        """Distinct (transaction, event id)."""
        ...

    def late(self, limit: int = 100) -> list[EventRow]:
        """One per transaction and event id, the last recorded first."""
        ...
