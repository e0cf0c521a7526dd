"""Laws of the fold of control, over random schedules of sources, crashes, zombies and forwarding."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.control import ControlFold
from pipeline.core.epoch import Epoch
from pipeline.core.hearing import FOREVER, SKEW_LIMIT, Covered, Hearing, Interval, merge_intervals
from schemas.control import Control, Distrust, Gone, Goodbye, Hello, Marker, Own, Partitions, Progress
from schemas.landscape import Landscape
from tests.core.control_topic import S, Topic, compacted, fold_of
from tests.laws.control_world import LANDSCAPE, SYSTEMS, Event, World

SEEDS = st.integers(0, 2**32)


def vouched_wrongly(fold: ControlFold, event: Event) -> bool:
    """Whether the fold says that the event's system was heard at the moment when the event became known, though the event is
    lost, unsent, or not processed through all its forwarding."""
    if event.complete:
        return False
    at = round(event.known * S)
    heard = fold.hearing(event.system)
    return at < heard.clock and heard.heard(at, at + 1, 0)


def excused(epoch: Epoch | None, event: Event) -> bool:
    """What the rules give up: what a source observed after it was gone; or before its hello, of which nobody can know."""
    return epoch is None or (epoch.gone_at is not None and event.known * S >= epoch.gone_at)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_nothing_is_vouched_for_that_was_not_processed(seed: int) -> None:
    world = World(seed)
    seen = 0
    for _ in range(250):
        world.step()
        if len(world.topic.rows) == seen:
            continue
        seen = len(world.topic.rows)
        fold = world.topic.fold
        for event in world.events:
            process = event.boot
            if vouched_wrongly(fold, event):
                epoch = fold.epochs.get((process.name, process.epoch))
                assert excused(epoch, event), f"{event} by {process} at {world.now}: {fold.hearing(event.system)}"


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_what_was_sent_is_vouched_for_in_the_end(seed: int) -> None:
    """The rules do not stand still: with all processed and every source alive and marking, clocks are a grace behind."""
    world = World(seed)
    for _ in range(200):
        world.step()
    for name in SYSTEMS:
        process = world.sources[name]
        if process is None or process.ended:
            world.boot(name)
        process = world.sources[name]
        assert process is not None
        process.cut_off = False
        if not process.said_hello:
            world.hello(process)
        world.send(process, len(process.unsent))
    world.finish()
    for _ in range(30):
        world.pass_time(1)
        for process in world.sources.values():
            assert process is not None
            world.marker(process)
    for system in set(SYSTEMS.values()):
        heard = world.topic.fold.hearing(system)
        assert not heard.silent
        assert heard.clock == world.topic.fold.now - LANDSCAPE.grace
        assert heard.heard(heard.clock - S, heard.clock, 0) or world.topic.fold.departed() == []


def answers(fold: ControlFold) -> dict[str, object]:
    return {
        "hearing": {system: fold.hearing(system) for system in sorted(set(SYSTEMS.values()))},
        "fences": {number: (known.fence, known.position) for number, known in fold.partitions.items()},
        "states": {key: (epoch.state, epoch.settled) for key, epoch in fold.epochs.items()},
        "gone": {key: epoch.gone_at for key, epoch in fold.epochs.items() if epoch.state == "gone"},
        "processed": fold.processed(),
        "now": fold.now,
    }


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_the_fold_says_the_same_whatever_the_batches_and_whoever_asks_in_between(seed: int, sizes: list[int]) -> None:
    world = World(seed)
    for _ in range(200):
        world.step()
    rows = world.topic.rows
    asked = ControlFold(LANDSCAPE)
    start, turn = 0, 0
    while start < len(rows):
        size = sizes[turn % len(sizes)]
        for row in rows[start : start + size]:
            asked.apply(*row)
        answers(asked)
        start, turn = start + size, turn + 1
    assert answers(asked) == answers(fold_of(rows, LANDSCAPE)) == answers(world.topic.fold)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(300, 400))
def test_compaction_changes_no_clock_no_blind_interval_and_no_fence(seed: int, lag: int) -> None:
    """With everything processed, a reader of what compaction left knows what the others know."""
    world = World(seed)
    for _ in range(1_200):
        world.step()
    world.finish()
    world.pass_time(1)
    world.finish()
    rows = compacted(world.topic.rows, lag * S)
    assert answers(fold_of(rows, LANDSCAPE)) == answers(world.topic.fold)


def test_compaction_leaves_something_out() -> None:
    """Else the law above says nothing."""
    world = World(1)
    for _ in range(1_200):
        world.step()
    assert len(compacted(world.topic.rows, 300 * S)) < 0.9 * len(world.topic.rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_world_has_what_the_laws_are_about(seed: int) -> None:
    """Lost events, forwarding at depth three, zombies whose progress is ignored, epochs of every state."""
    world = World(seed)
    states = set()
    for _ in range(3_000):
        world.step()
        states |= {epoch.state for epoch in world.topic.fold.epochs.values()}
    assert states >= {"live", "silent", "gone", "ended", "open", "closed"}
    assert any(not event.complete for event in world.events)
    assert any(event.complete and len(event.path) == 4 for event in world.events)
    assert world.zombies


class Plain(ControlFold):
    """Keeps nothing from one asking to the next, and compares each dead epoch with every other."""

    def hearing(self, system: str) -> Hearing:
        self._heard.clear()
        return super().hearing(system)

    def _deaf(self, epochs: list[Epoch], *, silent: bool) -> tuple[Interval, ...]:
        self._asked = epochs
        return super()._deaf(epochs, silent=silent)

    def _blind_until(self, epoch: Epoch, own: Interval, covered: Covered) -> int:
        if epoch.ended_by is not None:
            return epoch.ended_since
        if epoch.gone_at is None:
            return FOREVER
        ends = []
        for other in self._asked:
            if other is not epoch:
                begin, end = other.covers()
                if begin <= epoch.gone_at < end:
                    ends.append(epoch.gone_at)
                elif begin > epoch.gone_at:
                    ends.append(begin)
        return min(ends, default=FOREVER)


def anything(rng: random.Random, topic: Topic, at: int) -> Control:
    """A record about one of a few sources, which speak for one or two systems each, as sources, people and workers may write it."""
    source, epoch = rng.choice("abcd"), rng.randint(1, 4)
    systems = tuple(rng.sample(["A", "B", "C"], rng.choice((0, 1, 1, 2))))
    known = topic.fold.partitions.get(0)
    said = {
        "source": source, "epoch": epoch, "systems": systems, "through": max(0, at + rng.randint(-60, 5) * S),
        "acked": {0: rng.randint(0, 30)}, "skew": rng.choice((None, None, 0, 3 * S, -20 * S)), "shed": rng.choice((0, 0, 3)),
    }  # fmt: skip
    match rng.randrange(12):
        case 0 | 1:
            boot = max(0, at - rng.choice((0, 5, 30)) * S)
            since = max(0, boot - rng.choice((0, 0, -10, 500)) * S)
            return Hello(
                source=source, epoch=epoch, systems=systems, boot=boot, since=since, every=rng.choice((1, 5)) * S
            )
        case 2:
            return Goodbye.model_validate({**said, "state": rng.choice(("open", "closed"))})
        case 3:
            when = rng.choice((None, max(0, at - rng.randint(0, 50) * S)))
            return Gone(source=source, epoch=rng.choice((None, epoch)), at=when)
        case 4:
            since = max(0, at - rng.randint(0, 30) * S)
            return Distrust(source=source, epoch=epoch, since=since, lifted=rng.random() < 0.5)
        case 5 | 6:
            fence, through = known.fence if known else -1, max(0, at - 5 * S)
            return Progress(partition=0, fence=fence, position=rng.randint(0, 40), through=through)
        case 7:
            return Own(partition=0, after=known.fence if known else -1, worker="w")
    return Marker.model_validate(said)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.sampled_from([1, 3, 20]))
def test_what_is_kept_from_one_asking_to_the_next_is_what_the_plain_rules_say(seed: int, every: int) -> None:
    rng = random.Random(seed)
    topic = Topic(Landscape.model_validate({"gone_after": "20s", "grace": "4s"}))
    plain = Plain(topic.fold.landscape)
    topic.write(1_000, Partitions(count=1))
    plain.apply(*topic.rows[-1])
    at = 1_000 * S
    for number in range(200):
        at += rng.choice((0, 1, 1, 2, 8)) * S
        record = rng.choice(topic.fold.departed() or [anything(rng, topic, at)])
        topic.write(at / S, record)
        plain.apply(*topic.rows[-1])
        if number % every:
            continue
        fold = topic.fold
        for system in ("A", "B", "C"):
            assert fold.hearing(system) == plain.hearing(system), f"after {record}"
        assert fold.skews() == {
            key: one.skew for key, one in fold.epochs.items() if one.skew is not None and abs(one.skew) > SKEW_LIMIT
        }
        assert [(gone.source, gone.epoch, gone.at) for gone in fold.departed()] == [
            (*key, one.gone_at)
            for key, one in fold.epochs.items()
            if one.gone_at is not None and not one.gone_told and one.ended_by is None
        ]
        assert fold.distrusted() == {key for key, trust in fold._trusts.items() if trust.since is not None}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(0, 5),
    st.integers(0, 9),
)
def test_what_others_cover_is_what_each_of_them_does(intervals: list[Interval], which: int, time: int) -> None:
    which %= len(intervals)
    others = intervals[:which] + intervals[which + 1 :]
    covering = [time for begin, end in others if begin <= time < end]
    later = [begin for begin, _ in others if begin > time]
    assert Covered(intervals).by_another(intervals[which], time) == min(covering + later, default=FOREVER)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6), st.integers(0, 20), st.integers(0, 20))
def test_what_was_not_heard_within_a_time_is_the_part_of_each_interval(
    intervals: list[Interval], begin: int, end: int
) -> None:
    heard = Hearing("A", deaf=merge_intervals(intervals))
    touching = [(a, b) for a, b in heard.deaf if a < end and b > begin]
    assert heard.deaf_within(begin, end) == tuple((max(a, begin), min(b, end)) for a, b in touching)
    assert heard.resumed(begin, end) == max((b for _, b in touching), default=None)


def test_pods_that_were_killed_are_looked_at_when_one_of_them_changes_and_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pod's name is new each time: with a thousand, each compared with each in every step, a step took 0.7 s."""
    topic = Topic(Landscape.model_validate({"gone_after": "20s"}))
    topic.hello(1_000, "lives")
    for number in range(200):
        topic.hello(1_000 + number, f"pod {number}")
        topic.marker(1_000 + number, "lives")
    topic.alive(1_200, 1_300, "lives")
    assert topic.hearing().clock == 1_290 * S
    looked = [0]
    covers = Epoch.covers

    def counted(epoch: Epoch) -> Interval:
        looked[0] += 1
        return covers(epoch)

    monkeypatch.setattr(Epoch, "covers", counted)
    topic.marker(1_302, "lives")
    assert topic.hearing().clock == 1_292 * S
    assert looked[0] < 10
    topic.hello(1_303, "another pod")
    assert not topic.hearing().silent
    assert looked[0] < 3 * 200
