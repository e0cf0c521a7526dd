"""What answers judge with: the store's facts, the flows and the landscape, made ready for the core.

What is said now is the stored verdict: only the owner of a partition writes it. What a verdict does not keep (its hops) is
derived here from the events; what would be said as of a time is judged again (law 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from pipeline.core.hearing import NEVER, Knowledge
from pipeline.core.judge import judge, meets
from pipeline.core.knowledge import knowledge_from_facts
from pipeline.core.plan import plan_of
from pipeline.core.state import State
from pipeline.store.contract import Reader, Transaction, VerdictRow
from schemas.errors import Invalid
from schemas.flow import Flow, Flows
from schemas.landscape import Landscape
from schemas.verdict import VERDICT, Drop, DropKind, Finding, FindingKind, Status, Verdict
from schemas.wire import Observed

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Bench:
    """``store``: where facts are read; ``clock``: µs now, for words like "2 hours ago" and for nothing else."""

    store: Reader
    flows: Flows
    landscape: Landscape
    clock: Callable[[], int]

    def knowledge(self, as_of: int = 0) -> Knowledge:
        """What was known of time and hearing at ``as_of`` µs (0: all that is known)."""
        facts = [row[:4] + row[5:8] for row in self.store.hearing(as_of)]
        return knowledge_from_facts(facts, self.landscape, self.flows)

    def state(self, transaction: Transaction, events: Iterable[Observed]) -> State:
        kind, id_ = transaction
        names = self.flows.by_key.get(kind, ())
        types = {one for name in names for flow in self.flows.versions[name] for one in plan_of(flow).instance_types}
        return State.of(kind, id_, events, tuple(sorted(types)))

    def flow_of(self, row: VerdictRow) -> Flow:
        """The version that a verdict was made under. Raises ``Invalid`` where these flows do not have it."""
        for flow in self.flows.versions.get(row.flow, ()):
            if flow.version == row.flow_version:
                return flow
        raise Invalid(
            f"flow {row.flow} version {row.flow_version} is not among the flows given; "
            "name the folder with its file: --flows DIR"
        )

    def judged(self, state: State, knowledge: Knowledge, *, ended: bool = False) -> Iterator[tuple[Flow, Verdict]]:
        """Verdicts under every flow that judges the transaction."""
        for name in self.flows.by_key.get(state.key_type, ()):
            flow = self.flows.in_force(name, state.earliest, ended=ended)
            if meets(state, flow, knowledge):
                yield flow, judge(state, flow, knowledge)

    def told(self, row: VerdictRow, events: Sequence[Observed], knowledge: Knowledge) -> tuple[Flow, Verdict]:
        """The stored verdict, with what is derived from events: hops, edges, evidence."""
        flow = self.flow_of(row)
        derived = judge(self.state((row.key_type, row.transaction_id), events), flow, knowledge)
        said = stored_verdict(row)
        return flow, replace(
            said,
            hops=derived.hops,
            edges=derived.edges,
            evidence=said.evidence or derived.evidence,
            completeness=said.completeness or derived.completeness,
        )


def known_through(knowledge: Knowledge, otherwise: int) -> int:
    """Through when is known what is said, µs: control time, where there is one."""
    return knowledge.control_time if knowledge.control_time > NEVER else otherwise


def stored_verdict(row: VerdictRow) -> Verdict:
    """The verdict of a row; without hops and edges, which are not stored."""
    if row.body:
        return VERDICT.validate_json(row.body)
    return Verdict(
        flow=row.flow,
        version=row.flow_version,
        status=Status(row.status),
        started_at=row.started_at,
        last_at=row.last_at,
        ended_at=row.ended_at or None,
        drops=(_drop(row),) if row.drop_kind else (),
        findings=tuple(Finding(FindingKind(kind), "") for kind in row.findings),
        waits=row.waits,
        excluded=row.excluded,
        value=row.value,
        currency=row.currency,
    )


def _drop(row: VerdictRow) -> Drop:
    return Drop(
        Status(row.status), DropKind(row.drop_kind), row.drop_from or None, row.drop_from_system or None, row.drop_to,
        row.drop_system, row.drop_since, row.drop_due,
    )  # fmt: skip


def chunks(rows: Iterable[VerdictRow], size: int = CHUNK) -> Iterator[list[VerdictRow]]:
    """So that a long listing reads events in few queries and holds few of them."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk
