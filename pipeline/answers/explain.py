"""Explain: a verdict in two to five plain sentences for a support agent, and one to tell the customer.

Pure: verdict, flow, landscape, now in; texts out. The laws of the wording, held by a test over every status, drop and finding:
no word of this project's trade; systems by the landscape's words, never by id; no number that the customer could not know; and
"we cannot see it" is never said as "it is lost".
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.answers.case import Case, done_words, part_of, time_of
from pipeline.answers.certainty import behind, sure
from pipeline.answers.customer import advice
from pipeline.answers.remarks import remarks
from pipeline.answers.words import Clock, Names, length, listing, plain_reason, sentence
from schemas.flow import Flow
from schemas.landscape import Landscape
from schemas.verdict import Drop, DropKind, FindingKind, Outcome, Status, Verdict

MOST = 5
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


def explain(
    verdict: Verdict,
    flow: Flow,
    landscape: Landscape,
    *,
    transaction_id: str,
    now: int,
    known_through: int = 0,
    changed: str = "",
    unread: int = 0,
) -> Explanation:
    """Say ``verdict``. ``now``: µs, what "2 hours ago" counts from (an answer as of a time: that time). ``known_through``: µs,
    through when everything is known that was reported; 0 where that is not said. ``changed``: what this corrects, as a clause.
    ``unread``: how many reports name it that could not be read."""
    case = Case(verdict, flow, Names(flow, landscape), Clock.of(now, landscape), transaction_id, known_through, unread)
    if verdict.excluded:
        said = [f"{case.subject} is a test, so it is counted but not watched", f"it was last heard of {_last(case)}"]
        return Explanation(tuple(map(sentence, said)), "Nothing: this is not a customer's own.")
    said = [_headline(case), _place(case), sure(case), _others(case), changed, remarks(verdict, case.names, flow)]
    told = [sentence(text) for text in said if text]
    if changed and len(told) > MOST:
        told.remove(sentence(changed))
    return Explanation(tuple(told), sentence(advice(case)))


def unexplained(flow: str) -> Explanation:
    """Where the flow is not known by which it was judged: nothing is said that would rest on it."""
    said = f"flow {flow} is not known here: give --flows"
    return Explanation((sentence(said),), "We are looking into it and will come back to you.")


# --- what is the matter -------------------------------------------------------------------------------------------------


def _headline(case: Case) -> str:
    verdict, subject = case.verdict, case.subject
    drop = verdict.drop
    match verdict.status:
        case Status.COMPLETED:
            return f"{subject} is complete: it {done_words(case)} {case.clock.at(verdict.ended_at or verdict.last_at)}"
        case Status.CLOSED:
            when = case.clock.at(verdict.ended_at or verdict.last_at)
            # The time goes first: "was denied, because the password was wrong today" says something else.
            return f"{when}, {subject} {done_words(case)}"
        case Status.IN_PROGRESS:
            if behind(case):
                return f"{subject} is on its way as far as we know"
            return f"{subject} is on its way and nothing about it is overdue"
        case Status.UNKNOWN:
            what = f" whether {_expected(case, drop)}" if drop else ""
            return f"we cannot see at the moment{what}, so we do not know how {subject} is doing"
    many = drop is not None and drop.missing > 1 and bool(part_of(case, drop))
    one, more = _FATES[verdict.status]
    word = more if many else one
    if drop is None:
        return f"{subject} {word}"
    if _beside(case, drop):
        missing = "is missing" if verdict.status == Status.LOST else "is overdue"
        return f"{subject} itself went on, but something beside it {missing}: {_missing(case, drop, 'it')}"
    part = part_of(case, drop)
    return f"{f'{part} of {subject}' if part else subject} {word}: {_missing(case, drop, 'they' if many else 'it')}"


def _beside(case: Case, drop: Drop) -> bool:
    """Whether what is missing leads nowhere and the rest has gone on without it: a confirmation, not the order."""
    spec = case.spec(drop.to_step)
    if spec is None or spec.end or drop.status == Status.FAILED or drop.instance or drop.missing:
        return False
    if any(drop.to_step in other.after.steps for other in case.flow.steps.values()):
        return False
    past = {drop.to_step, drop.from_step}
    return any(
        hop.outcome == Outcome.DONE and hop.step not in past and time_of(hop) > drop.since for hop in case.verdict.hops
    )


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
    who = part_of(case, drop) or "it"
    return f"{who} got as far as {case.names.step(drop.to_step)}"


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
    if _beside(case, drop):
        whole = f"{case.subject} was last seen {_last(case)}"
        return f"it should have followed {names.step(drop.from_step)} at {source} {clock.ago(drop.since)}{due}; {whole}"
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
    hop = max(case.verdict.hops, key=time_of, default=None)
    if hop is None:
        return case.clock.ago(case.verdict.last_at)
    verb = "after" if hop.outcome == Outcome.DONE else "during"
    where = case.names.system(hop.system, hop.step)
    return f"at {where} {verb} {case.names.step(hop.step)} {case.clock.ago(time_of(hop))}"


def _next(case: Case) -> str:
    """What comes next and by when, where the flow says it in plain time."""
    done = {hop.step: time_of(hop) for hop in case.verdict.hops if hop.outcome == Outcome.DONE}
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


def _others(case: Case) -> str:
    """What else is missing."""
    rest = [
        f"{case.names.step(drop.to_step)}" + (f" ({part})" if (part := part_of(case, drop)) else "")
        for drop in case.verdict.drops[1:]
    ]
    rest = list(dict.fromkeys(rest))
    if not rest:
        return ""
    shown = rest if len(rest) <= 3 else [*rest[:3], f"{len(rest) - 3} more"]
    return f"still open as well: {listing(shown)}"
