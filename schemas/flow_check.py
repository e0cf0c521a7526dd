"""What can be wrong between the steps of a flow, and between a flow and its landscape. Pure: no files, no lines.

Each step by itself is checked by ``schemas.flow``; ``schemas.flow_file`` adds file and line to what is found here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from schemas.flow import Flow, KeyRole, Role, Step
from schemas.landscape import Landscape
from schemas.times import format_duration

Place = tuple[str, ...]


class Mistake(NamedTuple):
    """``place``: path of the field (``("steps", "paid", "after")``). A ``warning`` refuses nothing."""

    place: Place
    reason: str
    warning: bool = False


def check_flow(flow: Flow, landscape: Landscape | None = None) -> list[Mistake]:
    """All mistakes of a flow whose fields are valid, in the order of the file. Empty: the flow may be published."""
    found = [*check_references(flow.steps, flow.steps.keys()), *check_roles(flow.key, flow.by, flow.keys, flow.steps)]
    if not found:
        found += [*_order(flow.steps), *_ends(flow.steps)]
    found += _times(flow)
    if landscape is not None:
        found += _landscape(flow, landscape)
    return found


def check_references(steps: Mapping[str, Step], names: Collection[str]) -> Iterator[Mistake]:
    """Steps that are named but do not exist. ``names``: those that do, valid or not."""
    for name, step in steps.items():
        at = ("steps", name)
        for other in step.after.steps:
            if other not in names:
                yield Mistake((*at, "after"), f"unknown step {other!r}{_meant(other, names)}")
            elif other == name and not step.again:
                yield Mistake((*at, "after"), "comes after itself; a step that repeats says again: N")
        named = {
            "until": step.until,
            "when": step.when.seen if step.when else None,
            "count": step.count.announced_by if step.count else None,
        }
        for field, named_step in named.items():
            if named_step is not None and named_step not in names:
                yield Mistake((*at, field), f"unknown step {named_step!r}{_meant(named_step, names)}")
            elif named_step == name:
                yield Mistake((*at, field), "names the step itself")


def _meant(word: str, known: Collection[str]) -> str:
    close = [name for name in known if name.casefold().replace("-", "_") == word.casefold().replace("-", "_")]
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known)[:12])}"


def check_roles(
    key: str, by: tuple[str, ...] | None, keys: Mapping[str, KeyRole], steps: Mapping[str, Step]
) -> Iterator[Mistake]:
    """Key types that are used without a role, or in a way that their role does not allow."""
    joining = {key, *(name for name, role in keys.items() if role.role in (Role.ALIAS, Role.SHARED, Role.WEAK))}
    if key in keys:
        yield Mistake(("keys", key), "is the flow's own key and needs no role")
    uses: list[tuple[Place, tuple[str, ...] | None]] = [(("by",), by)]
    uses += [(("steps", name, "by"), step.by) for name, step in steps.items()]
    for place, names in uses:
        for name in names or ():
            if name != key and name not in keys:
                yield Mistake(place, _roleless(name))
        if names is not None and all(name == key or name in keys for name in names) and not joining & set(names):
            yield Mistake(place, f"names no key that leads to the {key}; at least one has to be {key} or an alias")
    for name, step in steps.items():
        if step.per is not None and step.per != key and step.per not in keys:
            yield Mistake(("steps", name, "per"), _roleless(step.per))


def _roleless(name: str) -> str:
    return f"{name!r} is a key without a role; say under keys what it is: {name}: alias, {{alias: shared}}, search"


def _order(steps: Mapping[str, Step]) -> Iterator[Mistake]:
    """A start, no cycle but one that a step with ``again`` closes, and every step within reach."""
    if not any(step.start for step in steps.values()):
        yield Mistake(("steps",), "no step is a start; say start: true at the first")
        return
    cycle = _cycle(steps)
    if cycle:
        path = " → ".join(cycle)
        yield Mistake(
            ("steps", cycle[-1], "after"), f"undeclared cycle {path}; say again: N at the step that closes it"
        )
        return
    reached = _reached(steps)
    for name in steps:
        if name not in reached:
            yield Mistake(("steps", name, "after"), "cannot be reached from a start")


def _cycle(steps: Mapping[str, Step]) -> list[str]:
    """A way round among the steps that do not say ``again``, first step repeated at the end; empty if there is none."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name][::-1]
        if name in done or steps[name].again:
            return []
        for other in steps[name].after.steps:
            cycle = visit(other, [*trail, name])
            if cycle:
                return cycle
        done.add(name)
        return []

    for name in steps:
        cycle = visit(name, [])
        if cycle:
            return cycle
    return []


def _reached(steps: Mapping[str, Step]) -> set[str]:
    reached = {name for name, step in steps.items() if step.start}
    while True:
        more = {
            name
            for name, step in steps.items()
            if name not in reached
            and step.after.steps
            and (any if step.after.mode == "any" else all)(
                other in reached or other == name for other in step.after.steps
            )
            and any(other in reached for other in step.after.steps)
        }
        if not more:
            return reached
        reached |= more


def _ends(steps: Mapping[str, Step]) -> Iterator[Mistake]:
    if not any(step.end for step in steps.values()):
        yield Mistake(("steps",), "no step is an end; say end: completed at the last")
    for name, step in steps.items():
        at = ("steps", name)
        closed = step.end == "closed"
        if closed and step.start:
            yield Mistake((*at, "end"), "a start cannot be the legitimate other end as well")
        if step.until is not None and not closed:
            yield Mistake((*at, "until"), "until is for a cancellation, a step with end: closed")
        if step.must and not step.owed:
            yield Mistake(
                (*at, "must"), f"must contradicts {'end: closed' if closed else 'optional'}: it is never owed"
            )
        if step.lapses is not None and (step.start or step.within is not None or step.due is not None):
            yield Mistake(
                (*at, "lapses"), "a step that lapses counts as done then; it is no start and has no within or due"
            )
        elif not step.owed and (step.within is not None or step.due is not None) and not step.optional:
            yield Mistake((*at, "end"), "a legitimate other end is never owed: within and due do nothing", warning=True)


def _times(flow: Flow) -> Iterator[Mistake]:
    lost = format_duration(flow.lost_after)
    for name, step in flow.steps.items():
        for field, time in (("within", step.within), ("retry_within", step.retry_within), ("lapses", step.lapses)):
            if time is not None and time > flow.lost_after:
                reason = (
                    f"{format_duration(time)} is longer than lost_after ({lost}): it would be lost before it is late"
                )
                yield Mistake(("steps", name, field), reason)


def _landscape(flow: Flow, landscape: Landscape) -> Iterator[Mistake]:
    if landscape.keys and not (flow.key in landscape.keys and landscape.keys[flow.key].transaction):
        yield Mistake(
            ("key",), f"{flow.key!r} does not name transactions; say {flow.key}: {{transaction: true}} in the landscape"
        )
    for name in flow.keys:
        if landscape.keys and name not in landscape.keys:
            yield Mistake(("keys", name), "no key type of the landscape", warning=True)
    for name, step in flow.steps.items():
        at = ("steps", name)
        if step.calendar is not None and step.calendar not in landscape.calendars:
            reason = f"unknown calendar {step.calendar!r}{_meant(step.calendar, landscape.calendars.keys())}"
            yield Mistake((*at, "calendar"), reason)
        if landscape.systems and landscape.current_name(step.system) not in landscape.systems:
            yield Mistake((*at, "system"), f"{step.system!r} is no system of the landscape", warning=True)
