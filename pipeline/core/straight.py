"""The straight way: a transaction that did all it owes, once, in order and in time is completed, whatever was heard.

Most transactions end so, and judging one by the whole of §6 takes seven times as long. Law: where this module answers, it
answers what ``judge`` would; whatever is the least unusual it leaves to it (None). A law test holds the two together.

What a flow asks is worked out once (``straight_way``); what one that is not yet at its end waits for says ``straight_open``.
"""

from __future__ import annotations

from pipeline.core.hearing import Knowledge
from pipeline.core.plan import Plan
from pipeline.core.state import State
from pipeline.core.straight_open import waits_of
from pipeline.core.straight_way import Rule, Straight, way_of
from schemas.errors import Invalid
from schemas.times import parse_time
from schemas.verdict import Status, Verdict, Wait
from schemas.wire import Observed

_MOST = 64
_ARRIVALS = frozenset(("received", "started"))
_NOWHERE: frozenset[int] = frozenset()


class Seen:
    """What a transaction's events come to. ``done``: slot to µs; ``named``: key type to instance to number; ``telling``: events
    with attributes that bear on the verdict; ``begun``: the event by which its start was done; ``single``: no step has more than
    one instance; ``under_way``: slots at which it arrived and that it has not left."""

    __slots__ = ("begun", "done", "named", "single", "telling", "under_way")

    def __init__(self, pers: tuple[str, ...]):
        self.done: dict[int, int] = {}
        self.named: dict[str, dict[str, int]] = {per: {} for per in pers}
        self.telling: list[Observed] = []
        self.begun: Observed | None = None
        self.single = True
        self.under_way: frozenset[int] = _NOWHERE


def straight(state: State, plan: Plan, knowledge: Knowledge) -> Verdict | None:
    """The verdict without hops, edges and evidence, if the transaction went straight to its end, or as far as it is."""
    way = way_of(plan)
    if way is None or state.bounded or knowledge.baselines or state.standings or (way.once and state.disputes):
        return None
    events = list(state.events.values())
    if not events or len(events) > _MOST:
        return None
    skews = knowledge.skews
    if skews and any((event.source, event.epoch) in skews for event in events):
        return None
    seen = _read(events, way)
    if seen is None:
        return None
    if way.names.isdisjoint([event.step for event in events]):
        return _open(state, plan, way, events, seen, knowledge)
    size, ends = way.size, way.ends
    if seen.under_way or not (
        _plain(way, seen) if seen.single else all(_settled(rule, seen, size) for rule in way.rules)
    ):
        return None
    ended = [time for slot, time in seen.done.items() if slot % size in ends]
    return _verdict(events, way, seen, max(ended)) if ended else None


def _open(
    state: State, plan: Plan, way: Straight, events: list[Observed], seen: Seen, knowledge: Knowledge
) -> Verdict | None:
    if not seen.single or not _plain(way, seen, partly=True):
        return None
    waits = waits_of(state, plan, way, seen, knowledge)
    return None if waits is None else _verdict(events, way, seen, None, Status.IN_PROGRESS, waits)


def _read(events: list[Observed], way: Straight) -> Seen | None:
    """When each slot was done: each once, none failed, no arrival after its departure. None where anything is unusual."""
    seen = Seen(way.pers)
    kinds, size, telling, done, named = way.kinds, way.size, way.telling, seen.done, seen.named
    arrived: list[tuple[int, int]] = []
    for event in events:
        kind = kinds.get(event.step)
        if kind is None:
            return None
        slot, system, per, phases = kind
        if system != event.system:
            return None
        if per is not None:
            numbers, instance = named[per], event.keys.get(per)
            if instance not in numbers:
                if not instance:
                    return None
                if numbers:
                    seen.single = False
                numbers[instance] = len(numbers)
            slot += size * numbers[instance]
        if event.phase in phases:
            if slot in done:
                return None
            done[slot] = event.time
            if slot == way.start:
                seen.begun = event
        elif event.phase in _ARRIVALS:
            arrived.append((slot, event.time))
        else:
            return None
        if not telling.isdisjoint(event.attributes):
            seen.telling.append(event)
    if arrived:
        if not all(slot not in done or _departed(done[slot], slot, time, way) for slot, time in arrived):
            return None
        seen.under_way = frozenset([slot for slot, _ in arrived if slot not in done])
    return None if seen.telling and _excluded(seen, way) else seen


def _departed(at: int, slot: int, time: int, way: Straight) -> bool:
    """Whether what arrived was done later; a start, which comes after nothing, in the time that it may take itself."""
    return time <= at and (slot != way.start or at <= time + way.patience)


def _excluded(seen: Seen, way: Straight) -> bool:
    """Whether it says anything of that by which transactions are excluded; which value is left to the judge."""
    exclude = way.flow.exclude
    return bool(exclude) and any(not exclude.keys().isdisjoint(event.attributes) for event in seen.telling)


def _plain(way: Straight, seen: Seen, *, partly: bool = False) -> bool:
    """``_settled`` for every step where none has more than one instance, as most orders have: three times as fast. ``partly``: what
    is owed may still come."""
    done, named = seen.done, seen.named
    for rule in way.rules:
        place, _, owed, start, before, within, due, number, counted = rule
        time = done.get(place)
        if time is None:
            if owed and not partly:
                return False
            continue
        if (number is not None or counted) and not _as_many(rule, seen, 1):
            return False
        if start:
            continue
        first = last = -1
        for prior, prior_owed, per, every in before:
            at = done.get(prior)
            if at is None:
                if (every and named[per or ""]) or (prior_owed and (partly or not every)):
                    return False
                continue
            if first < 0 or at < first:
                first = at
            last = max(last, at)
        if last < 0 or time < last or time > first + within or (due and time > _promised(rule, seen)):
            return False
    return True


def _settled(rule: Rule, seen: Seen, size: int) -> bool:
    """Whether a step was done by all its instances, after what it comes after and in time; or is optional and was not seen."""
    place, per, done = rule.place, rule.per, seen.done
    if per is None:
        time = done.get(place)
        if time is None:
            return not rule.owed
        return rule.start or _in_order(rule, 0, time, seen, size)
    times = [done.get(place + size * number) for number in range(len(seen.named[per]))]
    if not any(time is not None for time in times):
        return not rule.owed
    if (rule.number is not None or rule.counted) and not _as_many(rule, seen, len(times)):
        return False
    return all(
        time is not None and (rule.start or _in_order(rule, size * number, time, seen, size))
        for number, time in enumerate(times)
    )


def _as_many(rule: Rule, seen: Seen, found: int) -> bool:
    """Whether there are as many instances as were announced, by everyone who announced any."""
    if rule.number is not None:
        return rule.number == found
    name = rule.counted
    for event in seen.telling:
        said = event.attributes.get(name)
        # A number is mostly said as one: to compare texts took three times as long.
        if said is not None and (said != found if type(said) is int else str(said) != str(found)):
            return False
    return True


def _in_order(rule: Rule, offset: int, time: int, seen: Seen, size: int) -> bool:
    """Whether what was done at ``time`` came after all that it comes after, and in time. ``offset``: of its instance's slots."""
    done, first, last = seen.done, -1, -1
    for place, owed, per, every in rule.before:
        if every:
            slots = range(place, place + size * len(seen.named[per or ""]), size)
        else:
            slots = range(place if per is None else place + offset, 1 << 62, 1 << 62)
        for slot in slots:
            at = done.get(slot)
            if at is None:
                if owed or every:
                    return False
                continue
            if first < 0 or at < first:
                first = at
            last = max(last, at)
    return (
        last >= 0 and time >= last and time <= first + rule.within and (not rule.due or time <= _promised(rule, seen))
    )


def _promised(rule: Rule, seen: Seen) -> int:
    """The earliest that the step may be due, µs: of several promises the first is taken, and none that cannot be read."""
    try:
        times = [parse_time(event.attributes[rule.due]) for event in seen.telling if rule.due in event.attributes]
    except Invalid:
        return 0
    return min(times, default=1 << 62)


def _verdict(
    events: list[Observed], way: Straight, seen: Seen, ended: int | None, status: Status = Status.COMPLETED,
    waits: tuple[Wait, ...] = (),
) -> Verdict | None:  # fmt: skip
    flow, amount, currency = way.flow, None, ""
    if flow.value is not None:
        told = seen.begun.attributes if seen.begun is not None else {}
        worth = told.get(flow.value)
        if flow.currency not in told or type(worth) not in (int, float) or abs(worth) >= 1e15:  # type: ignore[arg-type]
            return None
        amount, currency = float(worth), str(told[flow.currency])[:10]  # type: ignore[arg-type]
        if not currency:
            return None
    times = [event.time for event in events]
    return Verdict(
        flow=flow.flow,
        version=flow.version,
        status=status,
        started_at=min(times),
        last_at=max(times),
        ended_at=ended,
        waits=waits,
        value=amount,
        currency=currency,
    )
