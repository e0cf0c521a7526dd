"""Knowledge: the fold of control, made ready for a judge; and what of it is kept in the store (law 7)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipeline.core.calendar import WorkingTime
from pipeline.core.control import ControlFold, EpochKey
from pipeline.core.hearing import NEVER, Baseline, Hearing, Knowledge
from schemas.flow import Flows
from schemas.landscape import Landscape


def knowledge_of(
    fold: ControlFold,
    flows: Flows,
    baselines: dict[tuple[str, str, str], Baseline] | None = None,
) -> Knowledge:
    """What a judge may know after the fold has read as far as it has."""
    return _knowledge(
        fold.now,
        {system: fold.hearing(system) for system in fold.systems()},
        fold.processed(),
        fold.landscape,
        fold.skews(),
        flows,
        baselines,
    )


@dataclass(frozen=True, slots=True)
class _Setting:
    """What follows from a landscape and flows alone; worked out once for each pair."""

    landscape: Landscape
    flows: Flows
    calendars: dict[str, WorkingTime]
    known_steps: dict[str, frozenset[tuple[str, str]]]
    renamed: dict[str, str]


_SETTINGS: dict[tuple[int, int], _Setting] = {}


def _setting(landscape: Landscape, flows: Flows) -> _Setting:
    found = _SETTINGS.get((id(landscape), id(flows)))
    if found is not None and found.landscape is landscape and found.flows is flows:
        return found
    known: dict[str, set[tuple[str, str]]] = {}
    for flow in flows.all():
        known.setdefault(flow.key, set()).update((name, step.system) for name, step in flow.steps.items())
    setting = _Setting(
        landscape,
        flows,
        calendars={name: WorkingTime(calendar) for name, calendar in landscape.calendars.items()},
        known_steps={kind: frozenset(steps) for kind, steps in known.items()},
        renamed={old: name for name, spec in landscape.systems.items() for old in spec.former_names},
    )
    if len(_SETTINGS) > 100:
        _SETTINGS.clear()
    _SETTINGS[id(landscape), id(flows)] = setting
    return setting


def _knowledge(
    now: int,
    hearing: dict[str, Hearing],
    processed: int,
    landscape: Landscape,
    skews: dict[EpochKey, int],
    flows: Flows,
    baselines: dict[tuple[str, str, str], Baseline] | None = None,
) -> Knowledge:
    setting = _setting(landscape, flows)
    return Knowledge(
        control_time=now,
        hearing=hearing,
        processed=processed,
        landscape=landscape,
        skews=skews,
        calendars=setting.calendars,
        known_steps=setting.known_steps,
        renamed=setting.renamed,
        baselines=baselines or {},
    )


# What is kept in the store (law 7) ------------------------------------------------------------------------------------

Fact = tuple[str, str, str, int, int, int, str]


def facts_of(fold: ControlFold) -> dict[tuple[str, str, str, int], tuple[int, int, str]]:
    """What was heard, as rows: (system, kind, source, epoch) to (begin, end, detail).

    ``system``: begin is its clock, detail its deaf intervals and state. ``skew``: begin is what is added to the source's
    times. ``control``: begin is control time, end how far all partitions are processed.
    """
    facts: dict[tuple[str, str, str, int], tuple[int, int, str]] = {
        ("", "control", "", 0): (fold.now, fold.processed(), "")
    }
    for system in fold.systems():
        heard = fold.hearing(system)
        if heard.unvouched:
            continue
        detail = json.dumps({"deaf": heard.deaf, "silent": heard.silent}, separators=(",", ":"))
        facts[system, "system", "", 0] = (heard.clock, 0, detail)
    for (source, epoch), skew in fold.skews().items():
        facts["", "skew", source, epoch] = (skew, 0, "")
    return facts


def knowledge_from_facts(facts: list[Fact], landscape: Landscape, flows: Flows) -> Knowledge:
    """Knowledge from stored rows (system, kind, source, epoch, begin, end, detail), as of when they were known."""
    now, processed = NEVER, NEVER
    hearing: dict[str, Hearing] = {}
    skews: dict[EpochKey, int] = {}
    for system, kind, source, epoch, begin, end, detail in facts:
        if kind == "control":
            now, processed = begin, end
        elif kind == "skew":
            skews[source, epoch] = begin
        elif kind == "system":
            state = json.loads(detail)
            deaf = tuple((int(a), int(b)) for a, b in state["deaf"])
            hearing[system] = Hearing(system, begin, deaf, silent=bool(state["silent"]))
    return _knowledge(now, hearing, processed, landscape, skews, flows)
