"""The store's contract: what is written in a batch, and what answers read.

Laws, held by one suite for every adapter:

- Identity carries correctness. Writing the same rows again, in any batches and in any order, leaves the same answers:
  events by (transaction, id, content, via), verdicts by (transaction, flow) with the greatest ``version``, flips by (transaction,
  flow, number) with the greatest ``version``, keys by all but ``seen_at`` (the earliest stays), quarantine by ``id`` with the
  greatest ``version``, parked by ``id`` and content, links by all but ``shared``, ``state`` and ``version`` (the greatest version,
  state, shared), disputes by transaction and alias with the greatest ``version``, tombstones by key type and digest with the
  greatest ``version``.
- A flip's number rides in its verdict's row: where there is a verdict whose ``flip`` is less, the flip was never said (its worker
  died, or was a zombie, before the verdict was written) and no read but ``written_flips`` shows it.
- A read sees every write that was acknowledged, and never trusts that a merge has run.
- A method raises ``Unavailable`` when the store cannot be reached or refuses work; then some of the rows may be visible.

Times are µs since 1970 UTC, 0 where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.store.accounts import AccountRow, Accounts
from pipeline.store.erasing import Erasing
from pipeline.store.retention import Retention
from pipeline.store.takeover import Takeover
from schemas.verdict import Wait
from schemas.wire import Observed

# (key type, value) of a transaction.
Transaction = tuple[str, str]

# Key type of rows for transactions that no flow judged: they have no verdict by which their partition's next owner would know that
# they have events. (To ask the events themselves took 0.27 s a partition among 5M, ten times as long.)
UNJUDGED = "(no flow)"
# ``LinkRow.by`` of a person's word.
DECISION = "(decision)"
# Key type and value.
Alias = tuple[str, str]


class EventRow(NamedTuple):
    """An event of a transaction. ``body``: its JSON as received (``source``/``epoch`` may be missing there: columns rule)."""

    key_type: str
    transaction_id: str
    event: Observed
    body: bytes


class VerdictRow(NamedTuple):
    """A verdict as stored: slim. Hops are derived from events when someone asks.

    ``version``: fence << 32 | counter. ``open``: something may still change without a new event (it waits). ``flip``: number of
    the last flip. ``judged_at``: control time. ``drop_*``: the worst drop. ``body``: JSON of the ``Verdict`` without hops
    and edges, "" where there is no drop and no finding.
    """

    key_type: str
    transaction_id: str
    flow: str
    flow_version: int
    partition: int
    version: int
    status: str
    open: bool
    started_at: int
    last_at: int
    ended_at: int
    judged_at: int
    flip: int = 0
    drop_kind: str = ""
    drop_from: str = ""
    drop_to: str = ""
    drop_from_system: str = ""
    drop_system: str = ""
    drop_since: int = 0
    drop_due: int = 0
    findings: tuple[str, ...] = ()
    value: float | None = None
    currency: str = ""
    excluded: bool = False
    waits: tuple[Wait, ...] = ()
    body: str = ""


class FlipRow(NamedTuple):
    """A verdict's change: what was said from ``at`` (control time) on. ``body`` as in ``VerdictRow``."""

    key_type: str
    transaction_id: str
    flow: str
    number: int
    version: int
    at: int
    before: str
    status: str
    drop_kind: str = ""
    drop_from: str = ""
    drop_to: str = ""
    drop_system: str = ""
    findings: tuple[str, ...] = ()
    body: str = ""


class KeyRow(NamedTuple):
    """A value by which a transaction can be found. The transaction's own key is one too."""

    key_type: str
    value: str
    transaction_type: str
    transaction_id: str
    seen_at: int


class ParkedRow(NamedTuple):
    """An event that names no transaction, kept under an alias for claimants to come. ``id``: event id + alias. ``kept_at``: µs of
    the log's append clock, from which its time-to-live counts (an import's ``recorded_at`` may lie years back)."""

    id: str
    alias_type: str
    alias: str
    partition: int
    event: Observed
    body: bytes
    kept_at: int = 0


class LinkRow(NamedTuple):
    """A claim: alias names (``key_type``, ``transaction_id``), says an event that came ``by`` that way ("" named the transaction
    itself), or a person (``by`` = DECISION, ``state`` accepted or broken). ``at``: µs of the event. Of one (alias, transaction,
    by, at) the greatest ``version`` counts. ``who``, ``why``: of a person's word."""

    alias_type: str
    alias: str
    key_type: str
    transaction_id: str
    by: str
    at: int
    shared: bool
    state: str
    version: int
    who: str = ""
    why: str = ""


class DisputeRow(NamedTuple):
    """What a transaction has to know of an alias that it claims (``schemas.joined.Fact``); the greatest ``version`` counts."""

    key_type: str
    transaction_id: str
    alias_type: str
    alias: str
    state: str
    version: int
    others: tuple[str, ...] = ()
    holders: tuple[tuple[str, int], ...] = ()
    way: str = ""


class Unlinked(NamedTuple):
    """Events kept under aliases of one type that no transaction claims. ``oldest``, ``newest``: µs, ``kept_at``. ``samples``: a
    few of them, oldest first. ``by_age``: how many were kept at or after the first of the times asked for, how many before it and
    at or after the second, and so on, at last how many before all of them."""

    alias_type: str
    events: int
    aliases: int
    oldest: int
    newest: int
    samples: tuple[ParkedRow, ...]
    by_age: tuple[int, ...] = ()


class QuarantineRow(NamedTuple):
    """Bytes that made no event. ``id``: topic:partition:offset:place. ``state``: kept, retried or dropped (the greatest
    ``version`` wins). ``numbers``: the running numbers that its source gave what is in it, where that is known."""

    id: str
    at: int
    source: str
    epoch: int
    reason: str
    field: str
    payload: bytes
    key: bytes = b""
    headers: str = "{}"
    state: str = "kept"
    version: int = 0
    numbers: tuple[int, ...] = ()


class SourceRow(NamedTuple):
    """A source's epoch as the fold of control has it. ``state``: live, silent, open, closed, gone, ended, distrusted.

    The row with the greatest ``updated_at`` (control time) per (source, epoch) wins. ``position``: offset in control, breaks ties.
    ``owed``: every running number up to it must be found by the audit (settled); ``numbered``: the source says so itself, else
    it is how many it says it sent. ``shed_ranges``: running numbers of what was shed, as far as told. ``blind``: when it was not
    heard, µs of the log's time; what lasts ends at 2^62.
    """

    source: str
    epoch: int
    systems: tuple[str, ...]
    state: str
    since: int
    through: int
    settled: int
    last_record_at: int
    every: int
    skew: int
    sent: int
    shed: int
    updated_at: int
    position: int = 0
    owed: int = 0
    numbered: bool = False
    shed_ranges: tuple[tuple[int, int], ...] = ()
    blind: tuple[tuple[int, int], ...] = ()


class HearingRow(NamedTuple):
    """One fact of hearing, with when we knew it (law 7). Rows with the same (system, kind, source, epoch, number) supersede one
    another by (known_at, position). ``kind`` and the meaning of ``begin``, ``end``, ``detail`` are ``pipeline.core.hearing``'s."""

    system: str
    kind: str
    source: str
    epoch: int
    number: int
    begin: int
    end: int
    detail: str
    known_at: int
    position: int = 0


@dataclass(frozen=True, slots=True)
class VerdictQuery:
    """Filter for listings; empty means all. ``started_from``/``started_to``: µs, half open. ``drop_from``/``drop_to``: a step or
    a system each, "" for any (``--drop A..B``). ``excluded``: None for both. ``limit`` 0: no limit. Newest first."""

    statuses: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()
    started_from: int = 0
    started_to: int = 0
    drop_from: str = ""
    drop_to: str = ""
    findings: tuple[str, ...] = ()
    excluded: bool | None = False
    limit: int = 0


class Writer(Protocol):
    def write_events(self, rows: Sequence[EventRow]) -> None: ...
    def write_verdicts(self, rows: Sequence[VerdictRow]) -> None: ...
    def write_flips(self, rows: Sequence[FlipRow]) -> None: ...
    def write_keys(self, rows: Sequence[KeyRow]) -> None: ...
    def write_parked(self, rows: Sequence[ParkedRow]) -> None: ...
    def write_links(self, rows: Sequence[LinkRow]) -> None: ...
    def write_disputes(self, rows: Sequence[DisputeRow]) -> None: ...
    def write_quarantine(self, rows: Sequence[QuarantineRow]) -> None: ...
    def write_sources(self, rows: Sequence[SourceRow]) -> None: ...
    def write_hearing(self, rows: Sequence[HearingRow]) -> None: ...
    def write_accounts(self, rows: Sequence[AccountRow]) -> None: ...


class Reader(Takeover, Accounts, Protocol):
    def load_events(self, transactions: Sequence[Transaction]) -> Mapping[Transaction, list[Observed]]:
        """All observations of each transaction, in any order: one per event id, ``Observed.content()`` and ``via``, the first
        recorded. ``State`` takes the winner of an id. Every transaction asked for is in the answer, unknown ones with an empty
        list; so for ``load_verdicts``."""
        ...

    def stream_events(self, transactions: Sequence[Transaction]) -> Iterator[tuple[Transaction, Observed]]:
        """The same, one after another and as they were recorded: an observation may come more than once. Of a transaction with a
        million events no more are in memory than are read at once."""
        ...

    def load_verdicts(self, transactions: Sequence[Transaction]) -> Mapping[Transaction, list[VerdictRow]]:
        """The winning verdict per flow of each transaction."""
        ...

    def verdicts(self, query: VerdictQuery) -> Iterator[VerdictRow]: ...
    def count(self, query: VerdictQuery) -> int:
        """How many those are, of whatever ``limit``."""
        ...

    def count_verdicts(self) -> Mapping[tuple[str, str], int]:
        """(flow, status) to number of transactions, excluded ones under status ``excluded``."""
        ...

    def open_verdicts(self, partitions: Sequence[int], of: int) -> Iterator[VerdictRow]:
        """Winning verdicts with ``open`` set of the transactions that live in these of ``of`` partitions, streamed. Where one lives
        is worked out (``crc32(type:id) mod of``): the partition in its row is that of the day on which it was written."""
        ...

    def known_transactions(self, partitions: Sequence[int], of: int) -> Iterator[Transaction]:
        """Every transaction that has a verdict row, or a key row of type UNJUDGED, and lives in these of ``of`` partitions,
        streamed, possibly more than once."""
        ...

    def unjudged(self, partitions: Sequence[int], of: int) -> Iterator[Transaction]:
        """Of those the ones with a key row of type UNJUDGED: today's flows may judge them."""
        ...

    def known_aliases(self, partitions: Sequence[int], of: int) -> Iterator[Alias]:
        """Every alias under which an event is kept, or that is claimed, in these of ``of`` partitions; as above."""
        ...

    def load_links(self, aliases: Sequence[Alias]) -> Mapping[Alias, list[LinkRow]]:
        """All claims of each alias, of each identity the winner. Every alias asked for is in the answer; so for ``load_kept``."""
        ...

    def load_kept(self, aliases: Sequence[Alias]) -> Mapping[Alias, list[ParkedRow]]:
        """The events that are kept under each alias, by id: one per id, content and ``via``, the first recorded."""
        ...

    def load_disputes(
        self, transactions: Sequence[Transaction], as_of: int = 0
    ) -> Mapping[Transaction, list[DisputeRow]]:
        """The winning row per alias of each transaction; those said up to ``as_of`` µs (``version`` >> 22 is its millisecond)."""
        ...

    def find_keys(self, value: str, key_type: str = "") -> list[KeyRow]:
        """Exact matches of the value; of any type for ``key_type`` ""."""
        ...

    def find_any_keys(self, values: Sequence[str], key_type: str = "") -> list[KeyRow]:
        """The same of several values at once: a handful of forms of what somebody pasted."""
        ...

    def key_from(self, key_type: str, begin: str, end: str) -> str:
        """The smallest value of a key type in [begin, end), by its bytes, by which a transaction is found; "" where there is none.
        No scan: a range is asked."""
        ...

    def keys_of(self, transactions: Sequence[Transaction]) -> list[KeyRow]: ...
    def flips(self, transaction: Transaction) -> list[FlipRow]:
        """By flow and number."""
        ...

    def written_flips(self, transactions: Sequence[Transaction]) -> Mapping[Transaction, list[FlipRow]]:
        """All flips that were written of each transaction, those that were never said too: for who holds the verdicts against
        them (``rows.said``). Every transaction asked for is in the answer."""
        ...

    def flips_between(self, begin: int, end: int) -> Iterator[FlipRow]:
        """Flips said in [begin, end), for the report and the watch."""
        ...

    def missing_at(self, at: int) -> Iterator[FlipRow]:
        """For each (transaction, flow) the last flip said up to ``at`` where its status is lost, failed, stalled or unknown."""
        ...

    def sources(self) -> list[SourceRow]: ...
    def hearing(self, as_of: int = 0) -> list[HearingRow]:
        """Latest row per (system, kind, source, epoch, number), known at ``as_of`` (0: now)."""
        ...

    def parked(self, limit: int = 100) -> list[ParkedRow]:
        """Kept events whose alias no transaction claims (no winning row of it says claimed or accepted, but of those of which a
        person said broken), one per ``id``, oldest ``kept_at`` first."""
        ...

    def count_parked(self) -> int:
        """How many those are."""
        ...

    def unlinked(self, samples: int = 3, ages: Sequence[int] = ()) -> list[Unlinked]:
        """The same, by alias type. ``ages``: times, µs, the latest first, that ``by_age`` is counted by."""
        ...

    def quarantine(self, ids: Sequence[str] = (), *, source: str = "", limit: int = 100) -> list[QuarantineRow]:
        """Those named by ``ids``, in any state; without ``ids`` those that are kept. Newest first."""
        ...

    def quarantine_with(self, pattern: str) -> list[QuarantineRow]:
        """Every row, in any state, in whose bytes, key, headers, reason or field the pattern (of ``erasing.pattern_of``) is found;
        and those whose bytes are packed, for the caller to unpack. A scan of the quarantine."""
        ...

    def count_quarantine(self) -> Mapping[tuple[str, str], int]:
        """(source, reason) to number, kept ones only."""
        ...

    def count_events(self) -> int:
        """Distinct (transaction, event id)."""
        ...


class Store(Writer, Reader, Retention, Erasing, Protocol):
    """What the worker and the answers are given."""

    def migrate(self) -> list[str]:
        """Apply what is missing, in order, safely beside others. Names of what was applied. Raises ``Invalid`` where the
        store is newer than this code."""
        ...

    def check(self) -> list[str]:
        """Problems, as a doctor would say them; empty when all is well."""
        ...

    def close(self) -> None: ...
