"""How sure we are: what was heard, what was not, and that "we cannot see it" is not "it is lost"."""

from __future__ import annotations

from pipeline.answers.case import Case
from pipeline.answers.words import listing
from schemas.verdict import MISSING, Status


def sure(case: Case) -> str:
    if case.unread and case.verdict.status in MISSING:
        return _unread(case)
    match case.verdict.status:
        case Status.UNKNOWN:
            return _cannot_see(case)
        case Status.IN_PROGRESS:
            return _how_far(case) if behind(case) else ""
        case Status.LOST | Status.STALLED | Status.FAILED:
            return _how_sure(case)
    return ""


def _unread(case: Case) -> str:
    """Before all else: that everybody kept reporting says little where a report is here that nobody can read."""
    one = case.unread == 1
    which = "a report that names it came" if one else f"reports that name it came ({case.unread})"
    it = "it" if one else "them"
    if case.verdict.status == Status.FAILED:
        return f"{which} that could not be read, so please have {it} checked: it may have gone on since"
    return f"{which} that could not be read, so please have {it} checked first: it may be only that"


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


def behind(case: Case) -> bool:
    """Something is due already, and what would tell is not there yet: we or they are behind."""
    return any(0 < wait.time <= case.clock.now for wait in case.verdict.waits)


def _how_far(case: Case) -> str:
    heard = [witness.heard_through for witness in case.verdict.completeness if witness.heard_through is not None]
    known = min(heard, default=case.known_through)
    if known <= 0:
        return "reports are coming in late just now, so there may be more to say soon"
    return f"reports come in late just now: what we know ends {case.clock.at(known)}, so look again soon"
