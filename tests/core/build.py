"""Small builders for what a judge is given: flows, events in a line of text, and what was heard.

An event is written ``paid.received[P1]@2m30s/pos-2``: step, phase (``completed`` if none is named), instance (of the step's
``per``), time since ``T0`` (a leading minus: before it) and source (its system's name if none is named).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import dedent
from typing import Any

from pipeline.core.calendar import WorkingTime
from pipeline.core.hearing import FOREVER, NEVER, Hearing, Interval, Knowledge
from pipeline.core.judge import judge
from pipeline.core.plan import plan_of
from pipeline.core.state import State
from schemas.flow import Flow
from schemas.flow_file import parse_flow
from schemas.landscape import Landscape
from schemas.times import SECOND, parse_duration, parse_time
from schemas.verdict import Verdict
from schemas.wire import Observed

T0 = parse_time("2026-10-05T08:00:00Z")  # a Monday
_TEXT = re.compile(
    r"(?P<step>\w+)(\.(?P<phase>\w+))?(\[(?P<instance>[^\]]*)\])?@(?P<time>-?[\w.]+)(/(?P<source>[\w.-]+))?"
)

# The page's own flow (DESIGN.md §6), without the calendar.
ORDER = """
flow: order
version: 3
key: order
by: [order]
keys: {payment: alias, parcel: {alias: shared}, customer: search, cart: {once: 10m}}
value: amount
exclude: {test: "true"}
lost_after: 14d
steps:
  placed:    {system: shop, start: true}
  paid:      {system: payments, after: placed, within: 15m, retry_within: 10m, reports: [received, completed, failed]}
  confirmed: {system: mailer, after: paid, within: 30m}
  picked:    {system: warehouse, after: paid, within: 2d}
  packed:    {system: warehouse, after: picked, within: 1d, per: parcel, count: parcels, by: [order, parcel]}
  shipped:   {system: carrier, after: packed, per: parcel, due: promised_at, by: [parcel]}
  delivered: {system: carrier, after: shipped, per: parcel, within: 5d, by: [parcel], end: completed}
  reviewed:  {system: fraud, after: placed, optional: true, again: 3}
  rejected:  {system: payments, after: placed, end: closed}
  cancelled: {system: shop, after: placed, end: closed, until: picked}
  refunded:  {system: payments, after: cancelled, when: paid, within: 5d}
"""


def flow(text: str) -> Flow:
    """A flow from YAML, checked like any other. ``flow``, ``version`` and ``key`` may be left out."""
    text = dedent(text)
    for name, value in (("key", "order"), ("version", "1"), ("flow", "test")):
        if not re.search(rf"^{name}:", text, re.M):
            text = f"{name}: {value}\n{text}"
    if not re.search("^by:", text, re.M):
        text = f"by: [order]\n{text}"
    return parse_flow(text)


def at(text: str) -> int:
    """µs of a time since ``T0``."""
    return T0 - parse_duration(text[1:]) if text.startswith("-") else T0 + parse_duration(text)


def event(
    of: Flow, text: str, number: int = 1, *, system: str | None = None, via: str = "", **attributes: Any
) -> Observed:
    """One event; ``number`` makes its id."""
    match = _TEXT.fullmatch(text)
    assert match is not None, text
    step = of.steps.get(match["step"])
    system = system or (step.system if step else "elsewhere")
    keys = {of.key: "1"}
    if match["instance"] is not None:
        assert step is not None, text
        keys[step.per or ""] = match["instance"]
    return Observed(
        id=f"e{number}",
        system=system,
        step=match["step"],
        time=at(match["time"]),
        keys=keys,
        phase=match["phase"] or "completed",  # type: ignore[arg-type]
        source=match["source"] or system,
        epoch=1,
        seq=number,
        attributes=attributes,
        error="declined" if match["phase"] == "failed" else None,
        recorded_at=at(match["time"]),
        via=via,
    )


def events(of: Flow, *texts: str, attributes: Mapping[str, Mapping[str, Any]] | None = None) -> list[Observed]:
    """Events with ids by their place. ``attributes``: by step."""
    found = []
    for number, text in enumerate(texts, 1):
        step = re.split(r"[.\[@]", text)[0]
        found.append(event(of, text, number, **(attributes or {}).get(step, {})))
    return found


def state(of: Flow, seen: Iterable[Observed]) -> State:
    return State.of(of.key, "1", seen, plan_of(of).instance_types)


def heard(
    of: Flow,
    now: str,
    *,
    blind: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    silent: Mapping[str, str] | None = None,
    behind: Mapping[str, str] | None = None,
    unvouched: Iterable[str] = (),
    landscape: Landscape | None = None,
    **rest: Any,
) -> Knowledge:
    """Everybody was heard through ``now`` less the grace, but for those ``blind`` in intervals, ``silent`` since, or ``behind``."""
    landscape = landscape or Landscape(tolerate=0)
    time = at(now)
    hearing: dict[str, Hearing] = {}
    for system in {step.system for step in of.steps.values()} - set(unvouched):
        deaf: list[Interval] = [(at(a), at(b)) for a, b in (blind or {}).get(system, ())]
        clock = time - 10 * SECOND
        if system in (silent or {}):
            clock = at((silent or {})[system])
            deaf.append((clock, FOREVER))
        if system in (behind or {}):
            clock = at((behind or {})[system])
        hearing[system] = Hearing(system, clock, tuple(deaf), silent=system in (silent or {}))
    known = rest.pop("known_steps", {of.key: plan_of(of).by_event})
    calendars = {name: WorkingTime(calendar) for name, calendar in landscape.calendars.items()}
    processed = time - 60 * SECOND if unvouched else NEVER
    return Knowledge(
        control_time=time,
        hearing=hearing,
        processed=processed,
        landscape=landscape,
        calendars=calendars,
        known_steps=known,
        **rest,
    )


def say(of: Flow, texts: str, now: str, **rest: Any) -> Verdict:
    """The verdict on events written in one line, heard through ``now``."""
    attributes = rest.pop("attributes", None)
    seen = events(of, *texts.split(), attributes=attributes)
    return judge(state(of, seen), of, heard(of, now, **rest))


def drops(verdict: Verdict) -> list[str]:
    """Drops as text, worst first: ``stalled in_transit placed>paid[P1] 1/3``."""
    return [
        f"{drop.status} {drop.kind} {drop.from_step or ''}>{drop.to_step}"
        + (f"[{drop.instance}]" if drop.instance else "")
        + (f" {drop.missing}/{drop.expected}" if drop.missing else "")
        for drop in verdict.drops
    ]


def findings(verdict: Verdict) -> set[str]:
    """Findings as text: ``late paid``, ``duplicate shipped[P1]``."""
    return {
        f"{finding.kind} {finding.step}" + (f"[{finding.instance}]" if finding.instance else "")
        for finding in verdict.findings
    }


def expect(of: Flow, texts: str, now: str, status: str, *said: str, **given: Any) -> None:
    """As in the table: drops as text, findings with a leading ``!``."""
    verdict = say(of, texts, now, **given)
    found = (str(verdict.status), *drops(verdict), *sorted(f"!{finding}" for finding in findings(verdict)))
    missing = [text for text in said if not text.startswith("!")]
    wanted = (status, *missing, *sorted(text for text in said if text.startswith("!")))
    assert found == wanted, f"said {found}, not {wanted}"
