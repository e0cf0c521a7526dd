"""What answers judge with: the store's facts, the flows and the landscape, made ready for the core.

What is said now is the stored verdict: only the owner of a partition writes it. What a verdict does not keep (its hops) is
derived here from the events; what would be said as of a time is judged again (law 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from typing import TypeVar

from pipeline.core.hearing import NEVER, Knowledge
from pipeline.core.judge import judge, meets
from pipeline.core.knowledge import knowledge_from_facts
from pipeline.core.plan import plan_of
from pipeline.core.state import Dispute, State
from pipeline.store.contract import DisputeRow, HearingRow, Reader, Transaction, VerdictRow
from schemas.errors import Invalid
from schemas.flow import Flow, Flows
from schemas.joined import address
from schemas.landscape import Landscape
from schemas.verdict import VERDICT, Drop, DropKind, Finding, FindingKind, Status, Verdict, Witness
from schemas.wire import Observed
from tracer.keyring import KeyRing

CHUNK = 500
T = TypeVar("T")


@dataclass(slots=True)
class Bench:
    """``store``: where facts are read; ``flows``: those given, and once `learn` was needed those published; ``clock``: µs now,
    for words like "2 hours ago" and for nothing else; ``published``: reads the flows that were published, which takes time,
    so only where something rests on a flow that was not given; ``ring``: keys under which personal data is looked for."""

    store: Reader
    flows: Flows
    landscape: Landscape
    clock: Callable[[], int]
    published: Callable[[], Iterable[Flow]] = tuple
    ring: KeyRing = field(default_factory=KeyRing)
    _learnt: bool = field(default=False, init=False)

    def learn(self) -> None:
        """Know what was published too."""
        if not self._learnt:
            self._learnt = True
            self.flows = joined(self.flows, self.published())

    def cover(self, rows: Iterable[VerdictRow]) -> None:
        """Know the flows of these rows, where that can be: before ``knowledge`` is asked for."""
        if any(self._version(row) is None for row in rows):
            self.learn()

    def cover_flows(self, names: Iterable[str]) -> None:
        """The same by name."""
        if not set(names) <= self.flows.versions.keys():
            self.learn()

    def require_flow(self, name: str) -> None:
        """Raises ``Invalid`` for a flow that was neither given nor published and that no transaction is judged by."""
        self.cover_flows([name])
        if name not in self.flows.versions and name not in self.judged_flows():
            self.flows.latest(name)

    def require_place(self, name: str, option: str) -> None:
        """Raises ``Invalid`` for what is no step and no system of any flow."""
        if name in self._places():
            return
        self.learn()
        known = self._places()
        if name in known or not self.judged_flows() <= self.flows.versions.keys():
            return
        near = get_close_matches(name, sorted(known), 3, 0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; lastseen flows show FLOW names them"
        raise Invalid(f"no flow has a step or a system {name[:60]!r}{hint}", field=option)

    def _places(self) -> set[str]:
        steps = [(name, step.system) for flow in self.flows.all() for name, step in flow.steps.items()]
        found = {place for pair in steps for place in pair} | set(self.landscape.systems)
        return found | {former for spec in self.landscape.systems.values() for former in spec.former_names}

    def judged_flows(self) -> set[str]:
        """Flows that have transactions."""
        return {flow for flow, _ in self.store.count_verdicts()}

    def knowledge(self, as_of: int = 0) -> Knowledge:
        """What was known of time and hearing at ``as_of`` µs (0: all that is known)."""
        return self.knowledge_from(self.store.hearing(as_of))

    def knowledge_from(self, heard: Iterable[HearingRow]) -> Knowledge:
        """The same from rows that were read before."""
        facts = [row[:4] + row[5:8] for row in heard]
        return knowledge_from_facts(facts, self.landscape, self.flows)

    def state(self, transaction: Transaction, events: Iterable[Observed], disputes: Iterable[DisputeRow] = ()) -> State:
        """``disputes``: what it was told of the aliases that it claims, by which its events count or not."""
        kind, id_ = transaction
        names = self.flows.by_key.get(kind, ())
        types = {one for name in names for flow in self.flows.versions[name] for one in plan_of(flow).instance_types}
        state = State.of(kind, id_, events, tuple(sorted(types)))
        for row in disputes:
            said = Dispute(row.state, row.version, row.others, row.holders, row.way)
            state.learn(address(row.alias_type, row.alias), said)
        return state

    def _version(self, row: VerdictRow) -> Flow | None:
        return next((f for f in self.flows.versions.get(row.flow, ()) if f.version == row.flow_version), None)

    def flow_of(self, row: VerdictRow) -> Flow | None:
        """The version that a verdict was made under; None where it was neither given nor can be read in control."""
        self.cover([row])
        return self._version(row)

    def judged(self, state: State, knowledge: Knowledge, *, ended: bool = False) -> Iterator[tuple[Flow, Verdict]]:
        """Verdicts under every flow that judges the transaction."""
        for name in self.flows.by_key.get(state.key_type, ()):
            flow = self.flows.in_force(name, state.earliest, ended=ended)
            if meets(state, flow, knowledge):
                yield flow, judge(state, flow, knowledge)

    def told(
        self,
        row: VerdictRow,
        events: Sequence[Observed],
        knowledge: Knowledge,
        disputes: Sequence[DisputeRow] = (),
    ) -> tuple[Flow, Verdict]:
        """The stored verdict, with what is derived from events: hops, edges, evidence; heard as is known now. Of a flow
        that is not known, what is stored, under a stand-in without steps."""
        flow, said = self.flow_of(row), stored_verdict(row)
        said = replace(said, completeness=tuple(_heard_now(witness, knowledge) for witness in said.completeness))
        if flow is None:
            return stand_in(row), said
        derived = judge(self.state((row.key_type, row.transaction_id), events, disputes), flow, knowledge)
        return flow, replace(
            said,
            hops=derived.hops,
            edges=derived.edges,
            evidence=said.evidence or derived.evidence,
            completeness=said.completeness or derived.completeness,
        )


def joined(given: Flows, published: Iterable[Flow]) -> Flows:
    """What was published, and beside it what was given and is new: a version that was published decides."""
    decided: dict[tuple[str, int], Flow] = {}
    for flow in published:
        decided.setdefault((flow.flow, flow.version), flow)
    keys = {flow.flow: flow.key for flow in decided.values()}
    new = [
        flow
        for flow in given.all()
        if (flow.flow, flow.version) not in decided and keys.get(flow.flow, flow.key) == flow.key
    ]
    return Flows([*decided.values(), *new])


def stand_in(row: VerdictRow) -> Flow:
    """For a flow that is not known: its name, and no step."""
    return Flow.model_construct(flow=row.flow, version=row.flow_version, key=row.key_type, steps={})


def is_stand_in(flow: Flow) -> bool:
    return not flow.steps


def _heard_now(witness: Witness, knowledge: Knowledge) -> Witness:
    """A verdict is judged anew where its status may change, not whenever a system was heard a little further."""
    clock = knowledge.of(witness.system).clock
    return replace(witness, heard_through=clock) if clock > NEVER else witness


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


def chunks(rows: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """So that a long listing reads events in few queries and holds few of them."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk
