"""Findings in words: what is worth saying of a transaction beside its status."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.answers.words import Names, count, exact, plural
from schemas.flow import Flow
from schemas.joined import parts
from schemas.verdict import Finding, FindingKind, Verdict

SHOWN = 3
_Say = Callable[[Finding, Names], str]


def _step(f: Finding, n: Names) -> str:
    part = f" of {n.instance(f.step, f.instance)}" if f.instance else ""
    return (n.step(f.step) if f.step else "something") + part


def _system(f: Finding, n: Names) -> str:
    return n.system(f.system, f.step)


def _times(number: int) -> str:
    return {2: "twice"}.get(number, f"{number} times")


def _doubled(f: Finding, n: Names) -> str:
    known = n.landscape.keys.get(n.flow.key)
    other = f" ({f.detail})" if f.detail and known and known.customer_knows else ""
    if f.amount > 1:
        nearest = f", the nearest{other}" if other else ""
        return f"there are {f.amount} other {plural(n.noun)} just like it from about the same time{nearest}"
    return f"there is a second {n.noun}{other} just like it from about the same time"


def _conflict(f: Finding, n: Names) -> str:
    kind, value = parts(f.detail)
    known = n.landscape.keys.get(kind)
    named = f"{known.says or kind} {value}" if known and known.customer_knows else "a number"
    return f"{named} on it is also claimed by another {n.noun}"


def _unresolved(f: Finding, n: Names) -> str:
    spec = n.landscape.systems.get(f.system)
    whom = spec.owner if spec and spec.owner else _system(f, n)
    return f"it has been like this for so long that somebody must ask {whom} about {_step(f, n)}"


def _unobserved(f: Finding, n: Names) -> str:
    return f"we could not see {_step(f, n)}, as {_system(f, n)} was not reporting then, but it went on after that"


def _unexpected(f: Finding, n: Names) -> str:
    if f.step in n.flow.steps:
        return f"there was more of {_step(f, n)} than there should be"
    if not f.step:
        return "so much was reported of it that we keep only the first and the last of each kind"
    return f"{_system(f, n)} reported something that does not belong to this kind of {n.noun}"


def _slow(f: Finding, n: Names) -> str:
    return f"{_step(f, n)} took longer than usual" + (f" ({exact(f.amount)})" if f.amount else "")


def _late(f: Finding, n: Names) -> str:
    return f"{_step(f, n)} came {exact(f.amount)} late" if f.amount else f"{_step(f, n)} came late"


def _skew(f: Finding, n: Names) -> str:
    return f"the clock of {_system(f, n)} is {exact(f.amount)} off, which we have corrected here"


# In the order of what an agent has to know first.
_CLAUSES: dict[FindingKind, _Say] = {
    FindingKind.AFTER_CANCEL: lambda f, n: f"{_step(f, n)} happened although the {n.noun} had ended before",
    FindingKind.DUPLICATE: lambda f, n: f"{_step(f, n)} happened {_times(f.amount + 1)}, and once would be right",
    FindingKind.DOUBLED: _doubled,
    FindingKind.UNRESOLVED: _unresolved,
    FindingKind.ALIAS_CONFLICT: _conflict,
    FindingKind.NO_START: lambda f, n: f"nothing shows how it began ({_step(f, n)})",
    FindingKind.SKIPPED: lambda f, n: f"{_step(f, n)} was left out, although later steps were done",
    FindingKind.UNOBSERVED: _unobserved,
    FindingKind.LATE: _late,
    FindingKind.AT_RISK: lambda f, n: f"{_step(f, n)} is taking longer than usual and may become late",
    FindingKind.SLOW: _slow,
    FindingKind.OUT_OF_ORDER: lambda f, n: f"{_step(f, n)} came before what should come first",
    FindingKind.UNEXPECTED: _unexpected,
    FindingKind.CLOCK_SKEW: _skew,
}
_ORDER = {kind: place for place, kind in enumerate(_CLAUSES)}


def clause(finding: Finding, names: Names) -> str:
    """One finding, without capital and full stop."""
    return _CLAUSES[finding.kind](finding, names)


def remarks(verdict: Verdict, names: Names, flow: Flow) -> str:
    """All that is worth saying in one sentence, the gravest first; "" where there is nothing."""
    places = {name: place for place, name in enumerate(flow.steps)}
    ordered = sorted(verdict.findings, key=lambda f: (_ORDER[f.kind], places.get(f.step, len(places))))
    clauses = list(dict.fromkeys(clause(finding, names) for finding in ordered))
    if not clauses:
        return ""
    more = len(clauses) - SHOWN
    return f"please note: {'; '.join(clauses[:SHOWN])}" + (f"; and {count(more, 'remark')} more" if more > 0 else "")
