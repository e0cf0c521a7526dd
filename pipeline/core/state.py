"""State: the set of a transaction's events (law 1).

Merging is set union of observations, an observation being an id and what it says: commutative, associative, idempotent. One id
with two contents has a deterministic winner, the least content; the other is remembered, because past the bound it counts.

Past ``BOUND`` observations a state keeps, per system, step, phase and instance, the earliest and the latest and whether there
were more, and of such groups the least ``GROUPS``: still a semilattice, because what is kept of a union depends on what is
kept of its parts only. (Rejected: a cap by arrival, and a winner decided before the group; both depend on the order.)

An event that came by aliases keeps all the ways by which it came, until one names the transaction itself. What a transaction was
told of its aliases (``learn``) is part of its state too; by it events count, count as doubtful, or are another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from pipeline.core.correlate import CLEAR, Known, active, contested, ways
from schemas.joined import WAYS_BETWEEN
from schemas.wire import Observed

BOUND = 2_000
GROUPS = 4_000

_Group = tuple[str, ...]


class _Kept(NamedTuple):
    first: Observed
    last: Observed
    more: bool = False


class Dispute(NamedTuple):
    """What was said of an alias: ``schemas.joined.Fact``. ``holders``: (transaction, µs) for a ``once`` value."""

    state: str
    version: int
    others: tuple[str, ...] = ()
    holders: tuple[tuple[str, int], ...] = ()
    way: str = ""


class State:
    """What is known of the transaction (``key_type``, ``id``).

    ``instance_types``: key types by which any of its flows tells instances apart. ``bounded``: more than ``BOUND`` observations
    were seen and only the earliest and latest of each kind are kept. ``disputes``: alias (``type:value``) to what was said of it
    last; ``standings``: those of them that are not clear. Both are replaced, never changed.
    """

    __slots__ = (
        "_active", "_events", "_greatest", "_groups", "_others", "bounded", "disputes", "id", "instance_types", "key_type",
        "standings",
    )  # fmt: skip

    def __init__(self, key_type: str, id: str, instance_types: tuple[str, ...] = ()):
        self.key_type = key_type
        self.id = id
        self.instance_types = instance_types
        self.bounded = False
        self.disputes: dict[str, Dispute] = _NOTHING
        self.standings: dict[str, Known] = _NO_STANDINGS
        self._active: dict[str, Observed] | None = None
        self._events: dict[str, Observed] | None = {}
        self._others: dict[tuple[str, str], Observed] = {}
        self._groups: dict[_Group, _Kept] = {}
        self._greatest: _Group | None = None

    @classmethod
    def of(cls, key_type: str, id: str, events: Iterable[Observed] = (), instance_types: tuple[str, ...] = ()) -> State:
        state = cls(key_type, id, instance_types)
        for event in events:
            state.merge(event)
        return state

    def learn(self, alias: str, dispute: Dispute) -> bool:
        """Take what is said of an alias; of two the greater version counts. Whether anything changed."""
        known = self.disputes.get(alias)
        if known is not None and known[1::-1] + known[2:] >= dispute[1::-1] + dispute[2:]:
            return False
        self.disputes = {**self.disputes, alias: dispute}
        self.standings = {
            name: Known(said.state, said.way) for name, said in self.disputes.items() if said.state != CLEAR or said.way
        }
        self._active = None
        return known is None or known._replace(version=0) != dispute._replace(version=0)

    def merge(self, event: Observed) -> bool:
        """Add an event; whether anything changed that a judge could see."""
        self._active = None
        if self.bounded:
            return self._absorb(event)
        events = self.known
        known = events.get(event.id)
        if known is not None:
            return known is not event and self._again(events, known, event)
        events[event.id] = event
        if len(events) + len(self._others) > BOUND:
            self._collapse()
        return True

    def add(self, events: Mapping[str, Observed]) -> bool:
        """Add events by id at once, if each is new and all have room: five times as fast as ``merge``. Whether it was done."""
        known = self._events
        if self.bounded or known is None or not known.keys().isdisjoint(events):
            return False
        if len(known) + len(events) + len(self._others) > BOUND:
            return False
        self._active = None
        known.update(events)
        return True

    def join(self, other: State) -> bool:
        """Add all that ``other`` knows of the same transaction; whether anything changed that a judge could see."""
        changed = False
        if other.bounded and not self.bounded:
            self._collapse()
            changed = True
        for event in other._observations():
            changed = self.merge(event) or changed
        for alias, dispute in other.disputes.items():
            changed = self.learn(alias, dispute) or changed
        for group, kept in other._groups.items():
            mine = self._groups.get(group)
            if kept.more and mine is not None and not mine.more:
                self._groups[group] = mine._replace(more=True)
                changed = True
        return changed

    def __iter__(self) -> Iterator[Observed]:
        return iter(self.events.values())

    def __len__(self) -> int:
        return len(self.known)

    @property
    def events(self) -> dict[str, Observed]:
        """By id, the winner of each, but those that came by an alias which turned out to be another's."""
        if not self.standings:
            return self.known
        if self._active is None:
            known, standings = self.known, self.standings
            self._active = {i: event for i, event in known.items() if active(event.keys, event.via, standings)}
        return self._active

    def doubtful(self, event: Observed) -> str:
        """The alias because of which it is not certain that an event is this transaction's; "" where it is."""
        return contested(event.keys, event.via, self.standings) if self.standings else ""

    @property
    def known(self) -> dict[str, Observed]:
        """By id, the winner of each, whosesoever it is."""
        if self._events is None:
            self._events = {}
            for event in self._observations():
                known = self._events.get(event.id)
                self._events[event.id] = event if known is None else min(known, event, key=_text)
        return self._events

    @property
    def earliest(self) -> int:
        """Time of the earliest known event, µs; 0 for none."""
        return min([event.time for event in self.events.values()], default=0)

    @property
    def reused(self) -> int:
        """How many ids were used again with other content, as far as they are remembered."""
        return len({id for id, _ in self._others})

    @property
    def crowded(self) -> int:
        """How many kinds of event there are more of than are kept; 0 below the bound."""
        return sum(kept.more for kept in self._groups.values())

    def _observations(self) -> list[Observed]:
        if self.bounded:
            return [event for kept in self._groups.values() for event in (kept.first, kept.last)]
        return [*self.known.values(), *self._others.values()]

    def _again(self, events: dict[str, Observed], known: Observed, event: Observed) -> bool:
        """One id twice: the same observation, or the id used for another."""
        mine, theirs = known.content(), event.content()
        if mine == theirs:
            events[event.id] = kept = _named_better(known, event)
            return kept is not known
        wins = repr(theirs) < repr(mine)
        loser, text = (known, repr(mine)) if wins else (event, repr(theirs))
        if wins:
            events[event.id] = event
        before = self._others.get((event.id, text))
        self._others[event.id, text] = loser if before is None else _named_better(before, loser)
        if len(events) + len(self._others) > BOUND:
            self._collapse()
            return True
        return wins

    def _collapse(self) -> None:
        observations = self._observations()
        self.bounded, self._events, self._others = True, None, {}
        for event in observations:
            self._absorb(event)

    def _absorb(self, event: Observed) -> bool:
        group = (event.system, event.step, event.phase, *(event.keys.get(kind, "") for kind in self.instance_types))
        known = self._groups.get(group)
        if known is None:
            if not self._room(group):
                return False
            self._groups[group] = _Kept(event, event)
        else:
            kept = _widen(known, event)
            if kept is known:
                return False
            self._groups[group] = kept
        self._events = None
        return True

    def _room(self, group: _Group) -> bool:
        """Whether there is room for one more group, the greatest going if there is not."""
        if len(self._groups) < GROUPS:
            self._greatest = None
            return True
        if self._greatest is None:
            self._greatest = max(self._groups)
        if group >= self._greatest:
            return False
        del self._groups[self._greatest]
        self._greatest = None
        return True


def _widen(kept: _Kept, event: Observed) -> _Kept:
    """What is kept of a group when ``event`` is in it too; ``kept`` itself where that changes nothing."""
    first, last, more = kept
    if _same(event, first):
        better = _named_better(first, event)
        return kept if better is first else _Kept(better, better if last is first else last, more)
    if _same(event, last):
        better = _named_better(last, event)
        return kept if better is last else _Kept(first, better, more)
    more = more or first is not last
    if _order(event) < _order(first):
        return _Kept(event, last, more)
    if _order(event) > _order(last):
        return _Kept(first, event, more)
    return kept if kept.more else _Kept(first, last, True)


def _text(event: Observed) -> str:
    return repr(event.content())


def _order(event: Observed) -> tuple[int, str, str]:
    return (event.time, event.id, _text(event))


def _same(one: Observed, other: Observed) -> bool:
    return one is other or (one.id == other.id and one.content() == other.content())


def _named_better(known: Observed, other: Observed) -> Observed:
    """Of two records of one observation: what named the transaction itself; then the earlier record, with the ways of both."""
    if (known.via == "") != (other.via == ""):
        return known if known.via == "" else other
    better = other if _rank(other) < _rank(known) else known
    if known.via == other.via:
        return better
    via = WAYS_BETWEEN.join(sorted({*ways(known.via), *ways(other.via)}))
    return better if better.via == via else msgspec.structs.replace(better, via=via)


def _rank(event: Observed) -> tuple[object, ...]:
    return (event.recorded_at, event.source, event.epoch, event.seq)


_NOTHING: dict[str, Dispute] = {}
_NO_STANDINGS: dict[str, Known] = {}
