"""State: the set of a transaction's events (law 1).

Merging is set union: commutative, associative, idempotent. One id with two contents has a deterministic winner, the least
content. Past ``BOUND`` distinct ids a state keeps, per system, step, phase and instance, the earliest and the latest event and
whether there were more: still a semilattice, because what is kept of a union depends on what is kept of its parts only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.wire import Observed

BOUND = 2_000
GROUPS = 4_000

_Order = tuple[int, str, tuple[object, ...]]


def _order(event: Observed) -> _Order:
    return (event.time, event.id, event.content())


class State:
    """What is known of the transaction (``key_type``, ``id``).

    ``instance_types``: key types by which any of its flows tells instances apart. ``bounded``: more than ``BOUND`` events
    were seen and only the earliest and latest of each kind are kept.
    """

    __slots__ = ("_groups", "bounded", "events", "id", "instance_types", "key_type")

    def __init__(self, key_type: str, id: str, instance_types: tuple[str, ...] = ()):
        self.key_type = key_type
        self.id = id
        self.instance_types = instance_types
        self.events: dict[str, Observed] = {}
        self.bounded = False
        self._groups: dict[tuple[str, ...], tuple[Observed, Observed]] = {}

    @classmethod
    def of(cls, key_type: str, id: str, events: Iterable[Observed] = (), instance_types: tuple[str, ...] = ()) -> State:
        state = cls(key_type, id, instance_types)
        for event in events:
            state.merge(event)
        return state

    def merge(self, event: Observed) -> bool:
        """Add an event; whether anything changed that a judge could see."""
        if self.bounded:
            return self._absorb(event)
        events = self.events
        known = events.get(event.id)
        if known is None:
            events[event.id] = event
            if len(events) > BOUND:
                self._collapse()
            return True
        winner = _winner(known, event)
        if winner is known:
            return False
        events[event.id] = winner
        return True

    def __iter__(self) -> Iterator[Observed]:
        return iter(self.events.values())

    def __len__(self) -> int:
        return len(self.events)

    @property
    def earliest(self) -> int:
        """Time of the earliest known event, µs; 0 for none."""
        return min((event.time for event in self.events.values()), default=0)

    def _collapse(self) -> None:
        events, self.events, self.bounded = self.events, {}, True
        for event in events.values():
            self._absorb(event)

    def _absorb(self, event: Observed) -> bool:
        instances = (event.keys.get(kind, "") for kind in self.instance_types)
        group = (event.system, event.step, event.phase, *instances)
        first, last = self._groups.get(group, (None, None))
        if first is None or last is None:
            if len(self._groups) >= GROUPS:
                # The least groups stay, whatever came first: a cap by arrival would depend on the order.
                greatest = max(self._groups)
                if group >= greatest:
                    return False
                del self._groups[greatest]
            first = last = event
        elif event.id in (first.id, last.id):
            kept = first if event.id == first.id else last
            winner = _winner(kept, event)
            if winner is kept:
                return False
            first = winner if kept is first else first
            last = winner if event.id == last.id else last
        elif _order(event) < _order(first):
            first = event
        elif _order(event) > _order(last):
            last = event
        else:
            return False
        self._groups[group] = (first, last)
        self.events = {kept.id: kept for pair in self._groups.values() for kept in pair}
        return True


def _winner(known: Observed, other: Observed) -> Observed:
    """Of two observations under one id: the least content; then what named the transaction itself; then the earlier record."""
    if known is other:
        return known
    mine, theirs = known.content(), other.content()
    if mine != theirs:
        return min(known, other, key=lambda event: repr(event.content()))
    rank = (known.via != "", known.via, known.recorded_at, known.source, known.epoch, known.seq)
    return (
        known
        if rank <= (other.via != "", other.via, other.recorded_at, other.source, other.epoch, other.seq)
        else other
    )
