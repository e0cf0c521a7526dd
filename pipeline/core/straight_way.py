"""The straight way of a flow: what ``straight`` asks of a transaction, worked out once, as tables by place (a step's number).

A flow whose main line has anything unusual has none: its transactions are left to ``judge``. A slot is a place, and how many
instances on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.core.plan import Plan, StepPlan
from schemas.flow import Flow


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
    are. ``ends``: places. ``telling``: attributes that bear on the verdict. ``patience``: µs that the start may take itself.
    ``lapsing``: time alone may end it."""

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
    lapsing: bool


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
        lapsing=any(step.spec.lapses is not None for step in plan.order),
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
