"""Findings that need no proof: they are what was seen."""

from __future__ import annotations

from pipeline.core.correlate import CONTESTED
from pipeline.core.obligations import Review
from pipeline.core.plan import StepPlan
from pipeline.core.state import State
from pipeline.core.visits import SLACK, Visits
from schemas.joined import address, parts
from schemas.verdict import Finding, FindingKind

_TOO_MANY = "too many events; the first and last of each kind are kept"


def observed(review: Review, state: State) -> list[Finding]:
    """All of them; in no particular order."""
    found: list[Finding] = []
    path, plan = review.path, review.plan
    for (name, instance), visits in path.visits.items():
        step = plan.steps[name]
        if visits.done:
            if len(visits.done) > 1 and (instance or step.per is None):
                found += _repeated(review, step, visits)
            disorder = visits.disorder
            if not visits.in_order:
                disorder = max(disorder, _before_its_time(review, step, visits))
            if disorder > SLACK:
                found.append(Finding(FindingKind.OUT_OF_ORDER, name, step.system, instance, disorder))
    if path.unexpected:
        found += _unexpected(review)
    for (source, _epoch, system), skew in path.skewed.items():
        found.append(Finding(FindingKind.CLOCK_SKEW, "", system, "", skew, source))
    if state.standings:
        found += _conflicts(review, state)
    if plan.once and state.disputes:
        found += _doubled(review, state)
    if state.bounded:
        found.append(Finding(FindingKind.UNEXPECTED, "", "", "", state.crowded, _TOO_MANY))
    return found


def _repeated(review: Review, step: StepPlan, visits: Visits) -> list[Finding]:
    """More completions than are normal: for each time that its loop was closed there may be another."""
    extra = visits.extra
    if step.repeats:
        rounds = sum(
            len(other.done) for name in step.closers if name != step.name for other in review.seen.all_visits(name)
        )
        extra = len(visits.done) - step.visits - rounds
    if extra <= 0:
        return []
    kind = FindingKind.UNEXPECTED if step.visits > 1 else FindingKind.DUPLICATE
    return [Finding(kind, step.name, step.system, visits.instance, extra, f"done {len(visits.done)} times")]


def _before_its_time(review: Review, step: StepPlan, visits: Visits) -> int:
    """By how much it was done before what it comes after, µs; 0 if in order."""
    least = 0
    any_found = False
    for name in step.before:
        for other in review.seen.before(review.plan.steps[name], step, visits.instance):
            prior = review.path.visits.get((name, other))
            if prior is not None and prior.done:
                time = prior.done[0]
                least = time if not any_found else min(least, time) if step.any else max(least, time)
                any_found = True
    return max(0, least - visits.done[0]) if any_found else 0


def _unexpected(review: Review) -> list[Finding]:
    counts: dict[tuple[str, str], int] = {}
    for event in review.path.unexpected:
        counts[event.step, event.system] = counts.get((event.step, event.system), 0) + 1
    return [Finding(FindingKind.UNEXPECTED, step, system, "", count) for (step, system), count in counts.items()]


def _conflicts(review: Review, state: State) -> list[Finding]:
    """Aliases that others claim too: at the steps that came by them, and by themselves where nothing did."""
    found: list[Finding] = []
    for (name, instance), events in review.path.contested.items():
        for alias in {state.doubtful(event) for event in events}:
            found.append(Finding(FindingKind.ALIAS_CONFLICT, name, review.plan.steps[name].system, instance, 1, alias))
    named = {finding.detail for finding in found}
    for alias, standing in state.standings.items():
        if standing.state == CONTESTED and alias not in named and parts(alias)[0] in review.plan.flow.keys:
            found.append(Finding(FindingKind.ALIAS_CONFLICT, "", "", "", 1, alias))
    return found


def _doubled(review: Review, state: State) -> list[Finding]:
    """Another transaction that holds one of our ``once`` values within the window."""
    found: list[Finding] = []
    for kind, window in review.plan.once:
        held: dict[str, int] = {}
        for event in state:
            value = event.keys.get(kind)
            if value is not None:
                held[value] = min(event.time, held.get(value, event.time))
        for value, at in held.items():
            dispute = state.disputes.get(address(kind, value))
            others = [(abs(since - at), one) for one, since in dispute.holders] if dispute else []
            near = [other for other in others if other[0] <= window]
            if near:
                found.append(Finding(FindingKind.DOUBLED, "", "", "", len(near), min(near)[1]))
    return found
