"""Score: what the store says, held against the truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.simulate.truth import Name, Place, Truth
from pipeline.store.contract import Reader, VerdictQuery, VerdictRow
from schemas.verdict import MISSING, VERDICT, DropKind, FindingKind, Status


@dataclass(frozen=True, slots=True)
class Told:
    """What the store says of a transaction under a flow. ``worst``: its first drop, None where nothing is missing."""

    status: Status
    excluded: bool
    worst: Place | None = None
    drops: frozenset[Place] = frozenset()
    findings: frozenset[tuple[FindingKind, str]] = frozenset()

    @property
    def missing(self) -> bool:
        return not self.excluded and self.status in MISSING


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One transaction of which the truth and the store say different things. Either is None where it is not known at all."""

    name: Name
    truth: Truth | None
    told: Told | None

    def __str__(self) -> str:
        flow, _, number = self.name
        fault = f" ({self.truth.fault})" if self.truth is not None and self.truth.fault else ""
        return f"{flow} {number}{fault}: truth {_say(self.truth)}; told {_say(self.told)}"


@dataclass(slots=True)
class Ratio:
    """``right`` of ``said`` were right (precision); ``found`` of ``real`` were found (recall)."""

    right: int = 0
    said: int = 0
    found: int = 0
    real: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.real if self.real else 1.0

    def count(self, *, said: bool, real: bool, agreed: bool) -> None:
        self.said += said
        self.real += real
        self.right += said and agreed
        self.found += real and agreed


@dataclass(slots=True)
class Score:
    """``missing``: verdicts lost, stalled, failed and unknown, each at the right place. ``findings``: one by one.
    ``stories``: (flow, fault) to how many were told in all, and of how many the store says exactly the truth."""

    transactions: int = 0
    missing: Ratio = field(default_factory=Ratio)
    findings: Ratio = field(default_factory=Ratio)
    stories: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def perfect(self) -> bool:
        return not self.mismatches


def score(store: Reader, truths: Iterable[Truth]) -> Score:
    """Compare every verdict in the store with the truth."""
    told = {_name(row): told_of(row) for row in store.verdicts(VerdictQuery(excluded=None))}
    result = Score()
    for truth in truths:
        said = told.pop(truth.name, None)
        if not truth.judged:
            if said is not None:
                result.mismatches.append(Mismatch(truth.name, truth, said))
            continue
        result.transactions += 1
        _compare(result, truth, said)
    for name, said in told.items():
        result.missing.count(said=said.missing, real=False, agreed=False)
        result.mismatches.append(Mismatch(name, None, said))
    return result


def _compare(result: Score, truth: Truth, said: Told | None) -> None:
    agreed = said is not None and said.status is truth.status and (said.worst is None or said.worst in truth.worst)
    result.missing.count(said=said is not None and said.missing, real=truth.missing, agreed=agreed)
    named = said.findings if said is not None else frozenset()
    for finding in named | truth.findings:
        both = finding in named and finding in truth.findings
        result.findings.count(said=finding in named, real=finding in truth.findings, agreed=both)
    exact = said is not None and (said.status, said.excluded, said.drops, said.findings) == (
        truth.status,
        truth.excluded,
        truth.drops,
        truth.findings,
    )
    told = result.stories.setdefault((truth.name[0], truth.fault), [0, 0])
    told[0] += 1
    told[1] += exact
    if not exact:
        result.mismatches.append(Mismatch(truth.name, truth, said))


def _name(row: VerdictRow) -> Name:
    return (row.flow, row.key_type, row.transaction_id)


def told_of(row: VerdictRow) -> Told:
    """A verdict's row in the truth's terms."""
    status = Status(row.status)
    if not row.body:
        drop = (status, DropKind(row.drop_kind), row.drop_from, row.drop_to) if row.drop_kind else None
        place = Place(*drop) if drop else None
        findings = frozenset((FindingKind(kind), "") for kind in row.findings)
        return Told(status, row.excluded, place, frozenset([place]) if place else frozenset(), findings)
    verdict = VERDICT.validate_json(row.body)
    drops = [Place(d.status, d.kind, d.from_step or "", d.to_step, d.instance, d.missing) for d in verdict.drops]
    findings = frozenset((finding.kind, finding.step) for finding in verdict.findings)
    return Told(status, row.excluded, drops[0] if drops else None, frozenset(drops), findings)


def _say(side: Truth | Told | None) -> str:
    if side is None or (isinstance(side, Truth) and not side.judged):
        return "nothing"
    drops = [
        f"{d.status.value} {d.kind.value} {d.from_step}..{d.to_step} {d.instance}".strip() for d in sorted(side.drops)
    ]
    findings = [f"{kind.value} {step}".strip() for kind, step in sorted(side.findings)]
    excluded = ["excluded"] if side.excluded else []
    return ", ".join([side.status.value, *excluded, *drops, *findings])
