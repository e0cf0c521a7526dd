"""The invariants of a run that came to rest: I1 to I7 (what is broken at once, ``observer`` has found before)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.store.contract import FlipRow, VerdictQuery, VerdictRow
from tests.faults.site import verdicts_of
from tests.simulation.observer import TRANSACTIONS
from tests.simulation.oracle import Oracle
from tracer.record import CONTROL, EVENTS

if TYPE_CHECKING:
    from tests.simulation.world import World

# What workers may produce, at most, for each record that a source sent and each time that one of them started.
_AMPLIFIED = 20


def broken(world: World) -> Iterator[str]:
    """Every invariant that does not hold, as a sentence."""
    oracle = Oracle(world)
    yield from counted_once(world, oracle)
    yield from as_judged(world, oracle)
    yield from no_false_alarm(world, oracle)
    yield from history(world)
    yield from bounded(world)
    yield from quarantined(world)


def counted_once(world: World, oracle: Oracle) -> Iterator[str]:
    """I1, I2: every event that the log has is stored with each transaction that it names, once, or kept under its aliases; and
    nothing is stored that nobody sent."""
    events = oracle.events()
    stored = world.store.load_events(list(world.store._events))
    ids = {name: [event.id for event in rows] for name, rows in stored.items()}
    kept = {row.event.id for rows in world.store._kept.values() for row in rows.values()}
    for event in events:
        names = [(kind, event.keys[kind]) for kind in TRANSACTIONS if kind in event.keys]
        for name in names:
            if event.id not in ids.get(name, ()):
                yield f"I1: {event.id} is not stored with {name}"
        if not names and event.id not in kept:
            yield f"I1: {event.id} with {event.keys} is kept nowhere"
    sent = {event.id for event in events}
    for name, own in ids.items():
        if not set(own) <= sent:
            yield f"I2: of {name} is stored what nobody sent: {sorted(set(own) - sent)}"
    if world.store.count_events() != sum(len(set(own)) for own in ids.values()):
        yield "I2: something is counted twice"


def as_judged(world: World, oracle: Oracle) -> Iterator[str]:
    """I3: verdicts are what a pure judge says of the union of all events."""
    said, judged = verdicts_of(world.store), oracle.judged()
    for name in sorted(said.keys() | judged.keys()):
        if said.get(name) != judged.get(name):
            yield f"I3: of {name} is said\n    {said.get(name)}\n  a pure judge says\n    {judged.get(name)}"


def no_false_alarm(world: World, oracle: Oracle) -> Iterator[str]:
    """I3, laws 5 and 6: nothing was called missing, at any moment, that was not.

    What rests on an event that somebody else claimed, later in the log but no later in truth, is counted only: that all claims
    up to the verdict's are known, no proof by clocks says (it proves silence through the due time).
    """
    for row, events in world.observer.claims.values():
        if oracle.could_say(row):
            continue
        if oracle.anothers(row, events):
            world.weather.note("alarms by what was another's")
            continue
        due = f"{row.drop_to} due {world.at(row.drop_due)}"
        yield f"I3: a false alarm at {world.at(row.judged_at)}: {row[:3]} {row.status} {due}"


def history(world: World) -> Iterator[str]:
    """I4: of what was said there is one history, and it ends with what is said."""
    for row in world.store.verdicts(VerdictQuery(excluded=None)):
        flips = [flip for flip in world.store.flips(row[:2]) if flip.flow == row.flow]
        if [flip.number for flip in flips] != list(range(1, row.flip + 1)):
            yield f"I4: flips {[flip.number for flip in flips]} of {row[:3]}, whose verdict has number {row.flip}"
        if flips and _told(flips[-1]) != _told(row):
            yield f"I4: the last flip of {row[:3]} says {_told(flips[-1])}, the verdict {_told(row)}"


def _told(row: VerdictRow | FlipRow) -> tuple[object, ...]:
    return (row.status, row.drop_kind, row.drop_from, row.drop_to, row.drop_system, row.findings)


def bounded(world: World) -> Iterator[str]:
    """I5: nothing grows without bound: what workers forward, what waits to be settled, what a worker remembers."""
    sent = sum(read.by_source for part in world.observer.logged for read in part)
    if world.observer.produced_by_workers > _AMPLIFIED * max(1, sent) * (1 + world.started):
        yield f"I5: workers produced {world.observer.produced_by_workers} records for {sent} of {world.started} workers"
    for process in world.processes:
        worker = process.worker
        if process.running and worker is not None:
            pending = {key: len(epoch.pending) for key, epoch in worker.fold.epochs.items() if epoch.pending}
            if pending and all(source.alive for source in world.sources):
                yield f"I6: markers that are never settled: {pending}"


def quarantined(world: World) -> Iterator[str]:
    """I7: what made no event is kept once, with a reason; nothing else is."""
    wanted = {
        f"{EVENTS}:{read.ack.partition}:{read.ack.offset}:{place}"
        for part in world.observer.logged
        for read in part
        for place in read.bad
    }
    kept = world.store._quarantine
    if wanted != kept.keys():
        yield f"I7: not kept {sorted(wanted - kept.keys())}, kept besides {sorted(kept.keys() - wanted)}"
    if not all(row.reason for row in kept.values()):
        yield "I7: kept without a reason"
    if world.store.count_quarantine() and sum(world.store.count_quarantine().values()) != len(wanted):
        yield "I7: the count is wrong"


__all__ = ["CONTROL", "broken"]
