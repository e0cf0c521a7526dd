"""The straight way: a transaction that did all it owes, once, in order and in time is completed, whatever was heard.

Most transactions end so, and judging one by the whole of §6 takes seven times as long. Law: where this module answers, it
answers what ``judge`` would; whatever is the least unusual it leaves to it (None). A law test holds the two together.

What a flow asks is worked out once, as tables by place (a step's number) and slot (its place, and how many instances on).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.core.hearing import Knowledge
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.state import State
from schemas.errors import Invalid
from schemas.flow import Flow
from schemas.times import parse_time
from schemas.verdict import Status, Verdict
from schemas.wire import Observed

_MOST = 64
_ARRIVALS = frozenset(("received", "started"))


class Kind(NamedTuple):
    """How an event of a step is read."""

    place: int
    system: str
    per: str | None
    done: frozenset[str]


class Prior(NamedTuple):
    """A step that another comes after. ``all``: every instance of it, by ``per``; else the one that the other is of."""

    place: int
    owed: bool
    per: str | None
    all: bool


class Rule(NamedTuple):
    """What a step owes. ``within``: µs from the first of what it comes after; ``due``: attribute with a promise, "" for none."""

    place: int
    per: str | None
    owed: bool
    start: bool
    before: tuple[Prior, ...]
    within: int
    due: str
    number: int | None
    counted: str


@dataclass(frozen=True, slots=True)
class Straight:
    """A flow's straight way. ``kinds``: by step, without those whose mere presence is unusual. ``size``: how many places there
    are. ``ends``: places. ``telling``: attributes that bear on the verdict. ``patience``: µs that the start may take itself."""

    flow: Flow
    kinds: dict[str, Kind]
    rules: tuple[Rule, ...]
    size: int
    start: int
    patience: int
    ends: frozenset[int]
    names: frozenset[str]
    pers: tuple[str, ...]
    telling: frozenset[str]
    once: bool


class Seen:
    """What a transaction's events come to. ``done``: slot to µs; ``named``: key type to instance to number; ``telling``: events
    with attributes that bear on the verdict; ``begun``: the event by which its start was done; ``single``: no step has more than
    one instance."""

    __slots__ = ("begun", "done", "named", "single", "telling")

    def __init__(self, pers: tuple[str, ...]):
        self.done: dict[int, int] = {}
        self.named: dict[str, dict[str, int]] = {per: {} for per in pers}
        self.telling: list[Observed] = []
        self.begun: Observed | None = None
        self.single = True


_WAYS: dict[int, tuple[Plan, Straight | None]] = {}


def way_of(plan: Plan) -> Straight | None:
    """The straight way of a flow; None where it has loops, lapses, several starts or conditions on its main line."""
    known = _WAYS.get(id(plan))
    if known is not None and known[0] is plan:
        return known[1]
    if len(_WAYS) > 4096:
        _WAYS.clear()
    way = _work_out(plan)
    _WAYS[id(plan)] = (plan, way)
    return way


def _work_out(plan: Plan) -> Straight | None:
    side = frozenset[str]().union(*plan.under.values()) if plan.under else frozenset[str]()
    main = tuple(step for step in plan.order if step.name not in side)
    unusual = any(
        step.loops or step.closers or step.hush or step.spec.lapses is not None or step.spec.when is not None
        or (step.counted is not None and step.counted.announced_by is not None)
        for step in main
    )  # fmt: skip
    if unusual or len(plan.starts) != 1 or plan.steps[plan.starts[0]].per is not None or not plan.ends - side:
        return None
    places = {step.name: place for place, step in enumerate(plan.order)}
    rules = tuple(_rule(step, plan, places) for step in main)
    asked = {rule.due for rule in rules} | {rule.counted for rule in rules}
    return Straight(
        flow=plan.flow,
        kinds={step.name: Kind(places[step.name], step.system, step.per, step.done_phases) for step in main},
        rules=rules,
        size=len(places),
        start=places[plan.starts[0]],
        patience=next(0 if rule.due else rule.within for rule in rules if rule.start),
        ends=frozenset(places[name] for name in plan.ends),
        names=plan.ends,
        pers=tuple(sorted({step.per for step in plan.order if step.per is not None})),
        telling=frozenset(asked | set(plan.flow.exclude)) - {""},
        once=bool(plan.once),
    )


def _rule(step: StepPlan, plan: Plan, places: dict[str, int]) -> Rule:
    priors = [plan.steps[name] for name in step.before]
    spec, count = step.spec, step.counted
    return Rule(
        place=places[step.name],
        per=step.per,
        owed=step.owed,
        start=step.start,
        before=tuple(
            Prior(places[prior.name], prior.owed, prior.per, prior.per is not None and prior.per != step.per)
            for prior in priors
        ),
        within=plan.flow.lost_after if spec.within is None else spec.within,
        due=spec.due or "" if spec.within is None else "",
        number=count.number if count is not None else None,
        counted=count.attribute or "" if count is not None and count.number is None else "",
    )


def completed(state: State, plan: Plan, knowledge: Knowledge) -> Verdict | None:
    """The verdict without hops, edges and evidence, if the transaction went straight to its end."""
    way = way_of(plan)
    if way is None or state.bounded or knowledge.baselines or state.standings or (way.once and state.disputes):
        return None
    events = list(state.events.values())
    if len(events) > _MOST or way.names.isdisjoint([event.step for event in events]):
        return None
    skews = knowledge.skews
    if skews and any((event.source, event.epoch) in skews for event in events):
        return None
    seen = _read(events, way)
    if seen is None:
        return None
    size, ends = way.size, way.ends
    if not (_plain(way, seen) if seen.single else all(_settled(rule, seen, size) for rule in way.rules)):
        return None
    ended = [time for slot, time in seen.done.items() if slot % size in ends]
    return _verdict(events, way, seen, max(ended)) if ended else None


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
    if arrived and not all(_departed(slot, time, way, done) for slot, time in arrived):
        return None
    return None if seen.telling and _excluded(seen, way) else seen


def _departed(slot: int, time: int, way: Straight, done: dict[int, int]) -> bool:
    """Whether what arrived was done later; a start, which comes after nothing, in the time that it may take itself."""
    at = done.get(slot)
    return at is not None and time <= at and (slot != way.start or at <= time + way.patience)


def _excluded(seen: Seen, way: Straight) -> bool:
    """Whether it says anything of that by which transactions are excluded; which value is left to the judge."""
    exclude = way.flow.exclude
    return bool(exclude) and any(not exclude.keys().isdisjoint(event.attributes) for event in seen.telling)


def _plain(way: Straight, seen: Seen) -> bool:
    """``_settled`` for every step where none has more than one instance, as most orders have: three times as fast."""
    done, named = seen.done, seen.named
    for rule in way.rules:
        place, _, owed, start, before, within, due, number, counted = rule
        time = done.get(place)
        if time is None:
            if owed:
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
                if (every and named[per or ""]) or (prior_owed and not every):
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
        if said is not None and str(said) != str(found):
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


def _verdict(events: list[Observed], way: Straight, seen: Seen, ended: int) -> Verdict | None:
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
        status=Status.COMPLETED,
        started_at=min(times),
        last_at=max(times),
        ended_at=ended,
        value=amount,
        currency=currency,
    )
