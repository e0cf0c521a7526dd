"""Any interleaving of events, links and people's words, over several partitions, with crashes and rebalances, comes to what all
of it comes to at once (DESIGN.md §5)."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from pipeline.core.correlate import roles_of
from pipeline.core.judge import judge, meets
from pipeline.core.knowledge import knowledge_of
from pipeline.worker import Worker
from schemas.event import parse_event
from schemas.flow import Flows
from schemas.flow_file import parse_flow
from schemas.joined import Decision, encode_lines
from schemas.times import DAY, MINUTE
from schemas.wire import Observed, observed
from tests.faults.site import Crash, Crashing, Said, Site, _of
from tests.faults.stories import START, Event, records_of
from tests.laws.joined_at_once import Words, join_all
from tracer.record import EVENTS, KIND, Record, partition_of

FLOW = parse_flow("""
flow: joined
version: 1
key: order
keys: {payment: alias, tracking: alias, parcel: {alias: shared}, batch: {alias: shared}, trace: {alias: weak}, cart: {once: 10m}}
lost_after: 5d
steps:
  placed:    {system: shop, start: true}
  paid:      {system: payments, after: placed, within: 15m}
  shipped:   {system: carrier, after: paid, within: 1d, per: parcel}
  delivered: {system: carrier, after: shipped, per: parcel, within: 5d, end: completed}
""")
FLOWS = Flows([FLOW])
ROLES = roles_of(FLOWS)
VALUES = {
    "order": ["1", "2", "3"], "payment": ["P1", "P2"], "tracking": ["X1", "X2"], "parcel": ["S1"], "batch": ["B1"],
    "trace": ["z1"], "cart": ["C1"],
}  # fmt: skip


@st.composite
def told(draw: st.DrawFn) -> Event:
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
    step = draw(st.sampled_from(sorted(FLOW.steps)))
    return {
        "system": FLOW.steps[step].system, "step": step, "time": START + draw(st.integers(0, 90)) * MINUTE,
        "keys": {kind: draw(st.sampled_from(VALUES[kind])) for kind in kinds},
    }  # fmt: skip


def words() -> st.SearchStrategy[list[tuple[str, str, str]]]:
    alias = st.sampled_from(["payment:P1", "payment:P2", "tracking:X1", "parcel:S1", "trace:z1"])
    return st.lists(
        st.tuples(alias, st.sampled_from(VALUES["order"]), st.sampled_from(["accept", "break"])), max_size=3
    )


def decision_record(word: tuple[str, str, str], partitions: int) -> Record:
    alias, order, decision = word
    body = encode_lines([Decision(alias, f"order:{order}", decision)])  # type: ignore[arg-type]
    key = alias.encode()
    return Record(EVENTS, key, body, ((KIND, b"decision"),), partition_of(key, partitions))


def at_once(events: list[Event], said: Words, worker: Worker) -> dict[str, Said]:
    knowledge = knowledge_of(worker.fold, worker.flows)
    seen: list[Observed] = [observed(parse_event(event)) for event in events]
    found = {}
    for one, state in join_all(seen, ROLES, "order", said, ("parcel",)).items():
        if len(state) and meets(state, FLOW, knowledge):
            found[one] = _of(judge(state, FLOW, knowledge))
    return found


def run(rng: Random, events: list[Event], said: Words, *, crashes: bool) -> tuple[Site, Worker]:
    partitions = rng.choice([1, 3])
    site = Site(partitions, flows=FLOWS)
    site.hear(START)
    records = []
    for event in events:
        where = rng.choice([None, None, None, *range(partitions)])
        records += records_of([event], partitions=partitions, at=where)
    rng.shuffle(records)
    # Words keep their order; where among the events they fall does not matter.
    places = sorted(rng.randint(0, len(records)) for _ in said)
    for place, word in reversed(list(zip(places, said, strict=True))):
        records.insert(place, decision_record(word, partitions))
    # Little room: pages and transactions are let go and read back all the time.
    room = rng.choice([1_000_000, 2])
    workers = [site.worker("w0", max_records=rng.randint(1, 5), capacity=room)]
    for record in records:
        site.produce([record])
        site.time += rng.choice([0, 1_000, 7_000])
        if crashes and rng.randint(0, 3) == 0:
            _disturb(rng, site, workers, room)
        elif rng.random() < 0.5:
            workers[rng.randint(0, len(workers) - 1)].step()
    for worker in workers[1:]:
        worker.close()
    site.hear(START + 30 * DAY)
    workers[0].drain()
    return site, workers[0]


def _disturb(rng: Random, site: Site, workers: list[Worker], room: int) -> None:
    """A worker crashes between two steps and another takes its place; or one joins; or one leaves."""
    what = rng.choice(["crash", "join", "leave", "evict"])
    number = rng.randint(0, len(workers) - 1)
    if what == "join" and len(workers) < 3:
        workers.append(site.worker(f"w{len(workers)}", max_records=rng.randint(1, 5), capacity=room))
    elif what == "leave" and len(workers) > 1:
        workers.pop(number).close()
    elif what == "evict":
        site.evict(workers[number])
    elif what == "crash":
        crashing = Crashing(rng.randint(1, 12))
        doomed = site.worker("doomed", max_records=3, checkpoint=crashing)
        try:
            for _ in range(8):
                doomed.step()
                for worker in workers:
                    worker.step()
        except Crash:
            pass
        site.evict(doomed)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(seed=st.integers(0, 2**32), told_=st.lists(told(), min_size=1, max_size=9), said=words())
def test_any_interleaving_says_what_all_at_once_says(seed: int, told_: list[Event], said: Words) -> None:
    events = [{"id": f"e{number}", **event} for number, event in enumerate(told_)]
    site, worker = run(Random(seed), events, said, crashes=False)
    check(site, worker, events, said)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(seed=st.integers(0, 2**32), told_=st.lists(told(), min_size=1, max_size=7), said=words())
def test_with_crashes_and_rebalances_too(seed: int, told_: list[Event], said: Words) -> None:
    events = [{"id": f"e{number}", **event} for number, event in enumerate(told_)]
    site, worker = run(Random(seed), events, said, crashes=True)
    check(site, worker, events, said)


def check(site: Site, worker: Worker, events: list[Event], said: Words) -> None:
    expected = at_once(events, said, worker)
    found = {name[1]: verdict for name, verdict in site.verdicts().items() if name[2] == "joined"}
    for one, verdict in expected.items():
        note(f"order {one}: {verdict}")
        assert found.get(one) == verdict, one
    for one, verdict in found.items():
        assert one in expected or not verdict.drops, (one, verdict)
