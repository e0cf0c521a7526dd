"""Explain: a verdict in two to five plain sentences for a support agent, and one to tell the customer.

Pure: verdict, flow, landscape, now in; texts out. The laws of the wording, held by a test over every status, drop and finding:
no word of this project's trade; systems by the landscape's words, never by id; no number that the customer could not know; and
"we cannot see it" is never said as "it is lost".
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.answers.remarks import remarks
from pipeline.answers.words import Clock, Names, length, listing, plain_reason, plural, sentence
from schemas.flow import Flow, Step
from schemas.landscape import Landscape
from schemas.verdict import Drop, DropKind, FindingKind, Hop, Outcome, Status, Verdict, Witness

_FATES = {
    Status.LOST: ("is lost", "are lost"),
    Status.STALLED: ("is stuck", "are stuck"),
    Status.FAILED: ("has failed", "have failed"),
}
_VERBS = frozenset(("was", "is", "has", "had", "did", "does", "never", "could", "cannot", "got", "went"))


@dataclass(frozen=True, slots=True)
class Explanation:
    """``sentences``: two to five for the agent. ``tell_customer``: one or two that may be read out as they are."""

    sentences: tuple[str, ...]
    tell_customer: str

    @property
    def text(self) -> str:
        return " ".join(self.sentences) + "\nTell the customer: " + self.tell_customer


@dataclass(frozen=True, slots=True)
class Case:
    """All that the words are made of."""

    verdict: Verdict
    flow: Flow
    names: Names
    clock: Clock
    transaction_id: str

    @property
    def subject(self) -> str:
        return self.names.subject(self.transaction_id)

    def spec(self, step: str) -> Step | None:
        return self.flow.steps.get(step)

    def witness(self, system: str) -> Witness | None:
        return next((witness for witness in self.verdict.completeness if witness.system == system), None)


def explain(verdict: Verdict, flow: Flow, landscape: Landscape, *, transaction_id: str, now: int) -> Explanation:
    """Say ``verdict``. ``now``: µs, what "2 hours ago" counts from (an answer as of a time: that time)."""
    case = Case(verdict, flow, Names(flow, landscape), Clock.of(now, landscape), transaction_id)
    if verdict.excluded:
        said = [f"{case.subject} is a test, so it is counted but not watched", f"it was last heard of {_last(case)}"]
        return Explanation(tuple(map(sentence, said)), "Nothing: this is not a customer's own.")
    said = [_headline(case), _place(case), _sure(case), _others(case), remarks(verdict, case.names, flow)]
    return Explanation(tuple(sentence(text) for text in said if text), sentence(_advice(case)))


# --- what is the matter -------------------------------------------------------------------------------------------------


def _headline(case: Case) -> str:
    verdict, subject = case.verdict, case.subject
    drop = verdict.drop
    match verdict.status:
        case Status.COMPLETED:
            return f"{subject} is complete: it {_done_words(case)} {case.clock.at(verdict.ended_at or verdict.last_at)}"
        case Status.CLOSED:
            when = case.clock.at(verdict.ended_at or verdict.last_at)
            return f"{subject} {_done_words(case)} {when}"
        case Status.IN_PROGRESS:
            if _behind(case):
                return f"{subject} is on its way as far as we know"
            return f"{subject} is on its way and nothing about it is overdue"
        case Status.UNKNOWN:
            what = f" whether {_expected(case, drop)}" if drop else ""
            return f"we cannot see at the moment{what}, so we do not know how {subject} is doing"
    many = drop is not None and drop.missing > 1 and bool(_part(case, drop))
    one, more = _FATES[verdict.status]
    word = more if many else one
    if drop is None:
        return f"{subject} {word}"
    part = _part(case, drop)
    return f"{f'{part} of {subject}' if part else subject} {word}: {_missing(case, drop, 'they' if many else 'it')}"


def _missing(case: Case, drop: Drop, who: str) -> str:
    """The clause that says what is not there."""
    spec = case.spec(drop.to_step)
    said = spec.says.missing.strip().rstrip(".") if spec else ""
    if said:
        # Both "the payment did not arrive" and "was never paid" are written.
        return f"it {said}" if said.partition(" ")[0].lower() in _VERBS else said
    step, system = case.names.step(drop.to_step), case.names.system(drop.system, drop.to_step)
    if drop.kind == DropKind.FAILED or drop.status == Status.FAILED:
        return f"{step} went wrong"
    if drop.kind == DropKind.INSIDE:
        return f"{who} arrived at {system}, but {step} was not finished there"
    if drop.kind == DropKind.IN_TRANSIT and case.names.has_words(drop.system):
        return f"{who} did not arrive at {system} for {step}"
    return f"{who} did not get as far as {step}"


def _expected(case: Case, drop: Drop) -> str:
    who = _part(case, drop) or "it"
    return f"{who} got as far as {case.names.step(drop.to_step)}"


def _part(case: Case, drop: Drop) -> str:
    """ "parcel 4711", "1 of 3 parcels", or "" where the whole transaction is meant."""
    if drop.instance:
        return case.names.instance(drop.to_step, drop.instance)
    if drop.missing and drop.expected > 1:
        spec = case.spec(drop.to_step)
        noun = (spec.per if spec and spec.per else "part").replace("_", " ").replace("-", " ")
        return f"{drop.missing} of {drop.expected} {plural(noun)}"
    return ""


def _end_step(case: Case) -> str:
    """The end that was reached; "" where that is only the last of the flow's steps."""
    kind = "closed" if case.verdict.status == Status.CLOSED else "completed"
    ends = {name: spec for name, spec in case.flow.steps.items() if spec.end == kind}
    done = [hop for hop in case.verdict.hops if hop.outcome == Outcome.DONE and hop.step in ends]
    if done:
        # The first of several cancellations closed it; the last of several parcels completed it.
        return (min if kind == "closed" else max)(done, key=_time_of).step
    seen = {hop.step: _time_of(hop) for hop in case.verdict.hops if hop.outcome == Outcome.DONE}
    lapsed = [name for name, spec in ends.items() if spec.lapses and set(spec.after.steps) & set(seen)]
    return max(lapsed, key=lambda name: max(seen.get(step, 0) for step in ends[name].after.steps), default="")


def _done_words(case: Case) -> str:
    """ "was delivered", else "ended with “delivered”"."""
    step = _end_step(case)
    if step:
        said = case.flow.steps[step].says.done.strip().rstrip(".")
        return said or f"ended with {case.names.step(step)}"
    if case.verdict.status == Status.CLOSED:
        return "ended early, as it may,"
    return case.flow.says.done.strip().rstrip(".") or "was finished"


# --- where --------------------------------------------------------------------------------------------------------------


def _place(case: Case) -> str:
    verdict = case.verdict
    match verdict.status:
        case Status.COMPLETED:
            took = f"it took {length((verdict.ended_at or verdict.last_at) - verdict.started_at)} from beginning to end"
            gaps = {FindingKind.SKIPPED, FindingKind.UNOBSERVED, FindingKind.NO_START}
            whole = gaps.isdisjoint(finding.kind for finding in verdict.findings)
            return f"everything that belongs to it was done; {took}" if whole else took
        case Status.CLOSED:
            return "that is a regular end, and nothing more is expected"
        case Status.IN_PROGRESS:
            return f"it was last seen {_last(case)}" + _next(case)
    if verdict.drop is None:
        return f"it was last seen {_last(case)}"
    return _unknown_place(case, verdict.drop) if verdict.status == Status.UNKNOWN else _drop_place(case, verdict.drop)


def _drop_place(case: Case, drop: Drop) -> str:
    names, clock = case.names, case.clock
    target = names.system(drop.system, drop.to_step)
    if drop.kind == DropKind.FAILED or drop.status == Status.FAILED:
        reason = plain_reason(drop.error)
        why = f" (“{reason}”)" if reason else ""
        return f"{target} reported the failure{why} {clock.ago(drop.since)} and has not managed it since"
    due = f"; {names.step(drop.to_step)} was due {clock.at(drop.due)}" if drop.due else ""
    if drop.kind == DropKind.INSIDE:
        return f"{target} has had it since {clock.ago(drop.since).removeprefix('on ')}{due}"
    if drop.from_step is None:
        return f"we have seen nothing of it before that{due}"
    source = names.system(drop.from_system, drop.from_step)
    seen = f"it was last seen at {source} after {names.step(drop.from_step)} {clock.ago(drop.since)}"
    if drop.from_system == drop.system:
        return f"{seen} and should have gone on there{due}"
    if drop.kind == DropKind.BETWEEN:
        return f"{seen}{due}; it either never reached {target} or is stuck there, and we cannot tell which"
    how = "must have got lost" if drop.status == Status.LOST else "is held up"
    return f"{seen} and {how} on the way to {target}{due}"


def _unknown_place(case: Case, drop: Drop) -> str:
    names = case.names
    target = names.system(drop.system, drop.to_step)
    if drop.kind == DropKind.FAILED:
        return (
            f"{target} reported a failure {case.clock.ago(drop.since)}, and we cannot see whether a later try succeeded"
        )
    seen = f"it was last seen {case.clock.ago(drop.since)}"
    if drop.from_step is not None:
        source = names.system(drop.from_system, drop.from_step)
        seen = f"it was last seen at {source} after {names.step(drop.from_step)} {case.clock.ago(drop.since)}"
        if drop.kind != DropKind.INSIDE and drop.from_system != drop.system:
            return f"{seen}; if something went wrong, then most likely between {source} and {target}"
    return f"{seen}; if something went wrong, then most likely at {target}"


def _last(case: Case) -> str:
    hop = max(case.verdict.hops, key=_time_of, default=None)
    if hop is None:
        return case.clock.ago(case.verdict.last_at)
    verb = "after" if hop.outcome == Outcome.DONE else "during"
    where = case.names.system(hop.system, hop.step)
    return f"at {where} {verb} {case.names.step(hop.step)} {case.clock.ago(_time_of(hop))}"


def _next(case: Case) -> str:
    """What comes next and by when, where the flow says it in plain time."""
    done = {hop.step: _time_of(hop) for hop in case.verdict.hops if hop.outcome == Outcome.DONE}
    for name, spec in case.flow.steps.items():
        after = [step in done for step in spec.after.steps]
        ready = bool(after) and (any(after) if spec.after.mode == "any" else all(after))
        if name in done or not ready or not spec.owed or spec.when or spec.lapses:
            continue
        text = f"; next comes {case.names.step(name)} at {case.names.system(spec.system, name)}"
        due = max(done[step] for step in spec.after.steps if step in done) + (spec.within or 0)
        if spec.within and not spec.calendar and due > case.clock.now:
            text += f", by {case.clock.at(due).removeprefix('on ')}"
        return text
    return ""


def _time_of(hop: Hop) -> int:
    return hop.left_at if hop.left_at is not None else (hop.arrived_at or 0)


# --- how sure -----------------------------------------------------------------------------------------------------------


def _sure(case: Case) -> str:
    match case.verdict.status:
        case Status.UNKNOWN:
            return _cannot_see(case)
        case Status.IN_PROGRESS:
            return _how_far(case) if _behind(case) else ""
        case Status.LOST | Status.STALLED | Status.FAILED:
            return _how_sure(case)
    return ""


def _how_sure(case: Case) -> str:
    systems = [case.names.system(w.system) for w in case.verdict.completeness if w.unvouched]
    if systems:
        return f"nobody confirms to us that every report of {listing(systems)} arrives, so please check there first"
    if case.verdict.status == Status.FAILED or not case.verdict.completeness:
        return ""
    heard = [case.names.system(witness.system) for witness in case.verdict.completeness]
    return f"{listing(heard)} kept reporting to us all that time, so this is not just a missing report"


def _cannot_see(case: Case) -> str:
    drop = case.verdict.drop
    silent = drop.silent if drop else ()
    if not silent:
        return (
            f"a number that would show us more is claimed by more than one {case.names.noun}, "
            "so we do not count what was reported under it"
        )
    parts = [_gap(case, system) for system in silent]
    return f"{listing(parts)}; that does not mean that it is lost, only that we cannot see it"


def _gap(case: Case, system: str) -> str:
    name, witness = case.names.system(system), case.witness(system)
    if witness is None or witness.heard_through is None:
        return f"we have never heard from {name}"
    ended = [(begin, end) for begin, end in witness.blind if end is not None]
    if witness.silent or not ended:
        return f"{name} has told us nothing since {case.clock.at(witness.heard_through).removeprefix('on ')}"
    begin, end = ended[-1]
    if begin <= case.verdict.started_at:
        return f"{name} told us nothing until {case.clock.at(end).removeprefix('on ')}"
    return f"{name} told us nothing between {_bare(case, begin)} and {_bare(case, end)}"


def _bare(case: Case, time: int) -> str:
    return case.clock.at(time).removeprefix("on ")


def _behind(case: Case) -> bool:
    """Something is due already, and what would tell is not there yet: we or they are behind."""
    return any(0 < wait.time <= case.clock.now for wait in case.verdict.waits)


def _how_far(case: Case) -> str:
    known = [witness.heard_through for witness in case.verdict.completeness if witness.heard_through is not None]
    if not known:
        return "reports are coming in late just now, so there may be more to say soon"
    return f"reports come in late just now: what we know ends {case.clock.at(min(known))}, so look again soon"


def _others(case: Case) -> str:
    """What else is missing."""
    rest = [
        f"{case.names.step(drop.to_step)}" + (f" ({part})" if (part := _part(case, drop)) else "")
        for drop in case.verdict.drops[1:]
    ]
    rest = list(dict.fromkeys(rest))
    if not rest:
        return ""
    shown = rest if len(rest) <= 3 else [*rest[:3], f"{len(rest) - 3} more"]
    return f"still open as well: {listing(shown)}"


# --- what to tell the customer ------------------------------------------------------------------------------------------


def _advice(case: Case) -> str:
    verdict, noun = case.verdict, case.names.noun
    spec = case.spec(verdict.drop.to_step) if verdict.drop else None
    if verdict.status == Status.CLOSED:
        spec = case.spec(_end_step(case))
    if verdict.status in (Status.LOST, Status.STALLED, Status.FAILED, Status.CLOSED):
        said = (spec.says.advice if spec else "") or ("" if verdict.status == Status.CLOSED else case.flow.says.advice)
        if said.strip():
            return said
    ended = case.clock.day(verdict.ended_at or verdict.last_at)
    match verdict.status:
        case Status.COMPLETED:
            late = [f for f in verdict.findings if f.kind == FindingKind.LATE]
            return f"your {noun} was completed {ended}" + (", later than planned; we are sorry" if late else "")
        case Status.CLOSED:
            return f"your {noun} was closed {ended}, and nothing more will happen"
        case Status.IN_PROGRESS:
            slow = any(finding.kind == FindingKind.AT_RISK for finding in verdict.findings)
            return f"your {noun} is being worked on" + (", but it may take longer than usual" if slow else "")
        case Status.FAILED:
            return f"something went wrong with your {noun}; we are looking into it and will come back to you"
        case Status.STALLED:
            return f"your {noun} is delayed; we are looking into it and will come back to you"
        case Status.LOST:
            return f"your {noun} got stuck on its way through our systems; we are looking into it and will come back to you"
    return (
        f"we cannot see the latest news of your {noun} just now, because a report is missing; "
        "this does not mean that anything is wrong with it. Please ask again later"
    )
