"""The straight way, half gone: a transaction that did so far all it owed, in order and in time, and waits for the rest.

Every open transaction is judged so with each event that comes; by the whole of §6 that takes eight times as long. Law: as for
``straight``; what is waited for is the same too. It answers only where no clock has passed what is due: as soon as anything
might be missing, or lifted, or heard of by somebody who is silent, the whole table is asked.
"""

from __future__ import annotations

from typing import Protocol

from pipeline.core.hearing import Knowledge
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.proof import Prover, Standing
from pipeline.core.state import State
from pipeline.core.straight_way import Rule, Straight
from pipeline.core.visits import SLACK
from schemas.errors import Invalid
from schemas.times import parse_time
from schemas.verdict import Wait
from schemas.wire import Observed


class Seen(Protocol):
    """What of ``straight.Seen`` is asked here; no step has more than one instance, so that slots are places."""

    done: dict[int, int]
    named: dict[str, dict[str, int]]
    telling: list[Observed]
    under_way: frozenset[int]


class _Unusual(Exception):  # noqa: N818  (no error: left to the judge)
    pass


def waits_of(state: State, plan: Plan, way: Straight, seen: Seen, knowledge: Knowledge) -> tuple[Wait, ...] | None:
    """What is waited for; None where nothing is owed that is not done, or anything is unusual."""
    if way.lapsing or way.start not in seen.done:
        return None
    prover, waits, owed = Prover(knowledge, state, way.flow), set[Wait](), False
    try:
        for rule in way.rules:
            if rule.place in seen.done:
                continue
            step = plan.order[rule.place]
            at = _since(rule, step, seen)
            if at is None or not rule.owed:
                # What arrives where nothing is owed, or before it is, has passed something over.
                if rule.place in seen.under_way:
                    return None
                continue
            proof = prover.through(step, at, max(_due(rule, step, at, plan, seen, knowledge), at + SLACK))
            if proof.standing is not Standing.WAITING:
                return None
            waits.update(proof.waits)
            owed = True
    except _Unusual:
        return None
    return earliest(waits, prover, knowledge.control_time) if owed else None


def earliest(waits: set[Wait], prover: Prover, now: int) -> tuple[Wait, ...]:
    """The earliest of each system is enough: judging again then returns the next.

    One that has passed already is no wait: the worker would never come to rest. But a silent system's clock stands still, and
    its waits come due on control time: there the earliest is what its return would change, and the earliest that control time
    has not reached is when to look again.
    """
    first: dict[tuple[str, bool], Wait] = {}
    for wait in waits:
        hearing = prover.hearing(wait.system)
        if hearing.clock > wait.time:
            continue
        key = (wait.system, hearing.silent and wait.time < now)
        known = first.get(key)
        if known is None or wait.time < known.time:
            first[key] = wait
    return tuple(sorted(first.values()))


def _since(rule: Rule, step: StepPlan, seen: Seen) -> int | None:
    """Since when a step is owed, µs; None while what it comes after is not done."""
    last, sister = None, False
    for place, owed, per, _ in rule.before:
        at = seen.done.get(place)
        sister = sister or (per is not None and per == step.per)
        if at is not None:
            last = at if last is None or at > last else last
        elif step.any or place in seen.under_way:
            raise _Unusual
        elif owed:
            return None
    if step.any and len(rule.before) > 1:
        raise _Unusual
    if step.per is not None:
        _count(rule, seen, named=bool(seen.named[step.per]))
        if sister and not seen.named[step.per]:
            return None
    return last


def _count(rule: Rule, seen: Seen, *, named: bool) -> None:
    """One instance, named or not yet: where others are announced, the judge tells how many are missing."""
    if rule.number is not None:
        if rule.number != 1:
            raise _Unusual
        return
    if rule.counted:
        said = [event.attributes[rule.counted] for event in seen.telling if rule.counted in event.attributes]
        if any(str(one) != "1" for one in said) or (said and not named and len(said) > 1):
            raise _Unusual


def _due(rule: Rule, step: StepPlan, at: int, plan: Plan, seen: Seen, knowledge: Knowledge) -> int:
    lost_at = at + plan.flow.lost_after
    spec = step.spec
    if spec.within is not None:
        return knowledge.due(at, spec.within, spec.calendar)
    if not rule.due:
        return lost_at
    promised = [event.attributes[rule.due] for event in seen.telling if rule.due in event.attributes]
    if len(promised) > 1:
        raise _Unusual
    try:
        return parse_time(promised[0]) if promised else lost_at
    except Invalid:
        return lost_at
