"""Announcing: what transactions say of the aliases that their events carry, to whoever keeps those.

What was announced is not announced again, as long as anybody remembers: by alias, way and generation, to the state and the
earliest time. To announce once too often costs a record; to think announced what was not loses a link, so that what is read back
from the store counts as announced only where the log surely has it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from pipeline.core.correlate import Claim, Roles, claims_of
from pipeline.store.contract import DisputeRow, Transaction
from pipeline.work.entry import Entry
from pipeline.work.packed import Claimed
from pipeline.work.runs import Arrived
from schemas.wire import Observed

# Of transactions let go: what they announced. Two that let go of each other's would announce to one another for ever.
_CLAIMS_KEPT = 100_000
_NONE: frozenset[str] = frozenset()


class Announcer:
    """``roles``: what key types mean to the types of transactions; those without any announce nothing."""

    def __init__(self, roles: Roles) -> None:
        self._kept: OrderedDict[Transaction, Claimed] = OrderedDict()
        self._roles = Roles([])
        self.use(roles)

    def use(self, roles: Roles) -> set[str]:
        """Key types mean this from now on. To which types of transactions they mean something else than before."""
        before, self._roles = self._roles, roles
        self._once = {
            kind: frozenset(name for name, role in found.items() if role.once) for kind, found in roles.of.items()
        }
        return {kind for kind, found in roles.of.items() if found != before.of.get(kind)}

    def claiming(self, transaction_type: str) -> bool:
        """Whether such transactions claim any aliases."""
        return transaction_type in self._roles.of

    def keep(self, transaction: Transaction, claimed: Claimed) -> None:
        """Remember what one that is let go announced."""
        self._kept[transaction] = claimed
        if len(self._kept) > _CLAIMS_KEPT:
            self._kept.popitem(last=False)

    def take(self, transaction: Transaction) -> Claimed:
        """What was kept of it, which is kept no more."""
        return self._kept.pop(transaction, {})

    def clear(self) -> None:
        self._kept.clear()

    def note(self, transaction_type: str, entry: Entry, stored: Observed, processed: int) -> None:
        """Take note of what was surely announced: what lay before what the partition was ``processed`` to (µs). Of an import that
        cannot be told, as it counts as recorded when it happened."""
        if stored.time != stored.recorded_at and stored.recorded_at < processed:
            standings = entry.state.standings
            for claim in claims_of(transaction_type, self._roles, stored.keys, stored.via, stored.time, standings):
                _news_of(entry, claim)

    def claim(
        self,
        transaction: Transaction,
        entry: Entry,
        arrived: Sequence[Arrived],
        rows: Sequence[DisputeRow],
        claims: list[tuple[Transaction, Claim]],
        *,
        again: bool,
    ) -> None:
        """Add to ``claims`` what the events that were read claim, once. Where an alias is in dispute, what came by aliases claims
        anew: it may rest on another's now. ``again``: a fact is read a second time: somebody crashed before he announced."""
        once = self._once.get(transaction[0], _NONE)
        standings, last = entry.state.standings, entry.claimed_by
        events = []
        for event, _ in arrived:
            # Most events of a transaction carry the same keys, and claim the same.
            if event.via or event.keys != last:
                events.append(event)
                last = event.keys if not event.via and once.isdisjoint(event.keys) else None
        if rows or standings:
            events += [event for event in entry.state.known.values() if event.via]
        for event in events:
            if not event.via and once.isdisjoint(event.keys):
                entry.claimed_by = event.keys
        for claim in self._claims(transaction, entry, events):
            if _news_of(entry, claim) or again:
                claims.append((transaction, claim))

    def anew(self, transaction: Transaction, entry: Entry) -> list[tuple[Transaction, Claim]]:
        """All that its events claim, announced or not: of what key types mean since, nobody may have announced anything."""
        found = self._claims(transaction, entry, entry.state.known.values())
        for claim in found:
            _news_of(entry, claim)
        return [(transaction, claim) for claim in found]

    def _claims(self, transaction: Transaction, entry: Entry, events: Iterable[Observed]) -> list[Claim]:
        """What they claim, each claim once: of what names the transaction itself the earliest."""
        found: dict[tuple[Transaction, str, int], Claim] = {}
        standings = entry.state.standings
        for event in events:
            for claim in claims_of(transaction[0], self._roles, event.keys, event.via, event.time, standings):
                known = found.get(_name_of(claim))
                if known is None or (claim.state, claim.at) < (known.state, known.at):
                    found[_name_of(claim)] = claim
        return list(found.values())


def _news_of(entry: Entry, claim: Claim) -> bool:
    """Whether a claim was not announced yet as it is."""
    known = entry.claimed.get(_name_of(claim))
    if known is not None and known[0] == claim.state and known[1] <= claim.at:
        return False
    at = claim.at if known is None else min(claim.at, known[1])
    entry.claimed[_name_of(claim)] = (claim.state, at)
    return True


def _name_of(claim: Claim) -> tuple[Transaction, str, int]:
    """What is announced once: of what names the transaction itself the earliest time is enough, as it is never withdrawn."""
    return (claim.alias, claim.by, claim.at if claim.by else 0)
