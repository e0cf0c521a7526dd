"""The consuming side of an event log: `Log`, `Consumer`, `ControlReader`, and the values they hand out.

Laws, held by one suite for every adapter:

- Within a partition, records come in the order of their offsets; within a key, in the order of their production.
- Positions ride with the data: what is committed is the next offset to read, and whoever owns the partition next goes
  on from it. Nothing is committed by itself. What was read and not committed is read again (at least once).
- `Consumer.poll` hands out no record of a partition before its `Assigned` was taken with `Consumer.take_changes`: state
  is loaded first. Nor one of a partition that was revoked.
- A position that the log no longer has is `PositionLost`, never a silent jump.
- Bytes are handed on as they are: a record that nobody can read is the worker's business, not the log's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from pipeline.errors import Invalid, Unavailable
from tracer.record import Headers
from tracer.sinks.contract import Sink

GROUP = "lastseen"


class LogRecord(NamedTuple):
    """A record as it was read. A named tuple, as a million of them are made: 0.15 µs; a frozen dataclass takes 0.9."""

    topic: str
    """`EVENTS` or `CONTROL`, whatever the log itself calls it."""
    partition: int
    offset: int
    append_time: int
    """Microseconds since the Unix epoch, by the log's clock (Kafka has milliseconds)."""
    key: bytes
    value: bytes
    headers: Headers


class Assigned(NamedTuple):
    """These partitions are ours from now on."""

    partitions: frozenset[int]


class Revoked(NamedTuple):
    """These partitions are no longer ours; whether by agreement or because the group gave us up."""

    partitions: frozenset[int]


Change = Assigned | Revoked


def taken_away(untaken: Iterable[Change], partitions: Iterable[int]) -> bool:
    """Whether any of ``partitions`` was revoked by a change that was not taken yet. It may be ours again by now; but what was read
    of it before is not: another member may have gone on, and a commit of ours would put the group back."""
    wanted = frozenset(partitions)
    return any(isinstance(change, Revoked) and not wanted.isdisjoint(change.partitions) for change in untaken)


class Fenced(Unavailable):
    """The group no longer counts us as the owner: nothing was committed, and what was not committed is somebody else's.

    A kind of `Unavailable`, because going on polling mends it; catch it first where the difference matters.
    """


class PositionLost(Exception):  # noqa: N818  (a state of the log; what to do about it is for a person)
    """The log does not have the offset that comes next: trimmed, or the topic was made anew. A person must decide."""


def made_anew(name: str, topic: str) -> str:
    """What is said of a topic that has other records under offsets that are known."""
    return (
        f"{name}: {topic} was deleted and made anew since it was read: what was not processed of it is lost, and positions mean "
        "other records. To begin anew, delete events and control, run `lastseen setup`, and name another database for the store"
    )


def fewer(name: str, have: int, wanted: int) -> Invalid:
    """What a log says that is to have fewer partitions."""
    return Invalid(
        f"{name} has {have} partitions, which cannot become {wanted}: there are records in each, and what is placed stays where it "
        "is. Name that many or more"
    )


class Consumer(Protocol):
    """A member of the group that reads the events."""

    def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[LogRecord]]:
        """What is there, by partition, in order of offset; waits up to the timeout for the first record.

        Must be called now and then even while everything is paused: that is what keeps membership alive. One that raises has taken
        nothing: positions stay where they were.

        Raises:
            Unavailable: the log cannot be reached, or somebody else holds it (SQLite).
            PositionLost: see there.
        """
        ...

    def assignment(self) -> frozenset[int]:
        """The partitions that are ours, as far as we know."""
        ...

    def take_changes(self) -> list[Change]:
        """What changed in the assignment since the last call, oldest first."""
        ...

    def still_owns(self, partition: int) -> bool:
        """Asks the group now: a member who was given up meanwhile hears no, also while it has not taken that change yet.

        Raises:
            Unavailable: the group cannot be asked, or is rebalancing: `poll`, then ask again.
        """
        ...

    def commit(self, positions: Mapping[int, int]) -> None:
        """Make durable, per partition, the next offset to read.

        Raises:
            Unavailable: not known to be committed; also while the group rebalances and others have yet to join:
                `poll` (with everything paused, if need be), take changes, then commit what is still ours.
            Fenced: refused, as not all of these partitions are ours any more, or were not all the while since changes were taken.
                Nothing was committed.
        """
        ...

    def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """The group's commits, from the log itself. Raises Unavailable."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Read on from this offset; the partition must be ours."""
        ...

    def position(self, partition: int) -> int:
        """The next offset that `poll` would hand out; the partition must be ours."""
        ...

    def pause(self, partitions: Iterable[int]) -> None:
        """Hand out nothing of these until `resume`; membership and positions are kept."""
        ...

    def resume(self, partitions: Iterable[int]) -> None: ...

    def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last record, asked of the log now, never remembered. Raises Unavailable when cut off."""
        ...

    def beginning_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset still there. Raises Unavailable."""
        ...

    def close(self) -> None:
        """Leave the group at once, committing nothing."""
        ...


class ControlReader(Protocol):
    """Reads control from its beginning, whole, outside of any group."""

    def read(self, max_records: int, timeout_ms: int = 0) -> list[LogRecord]:
        """The next records in order; empty where there are none within the timeout. Raises Unavailable."""
        ...

    def position(self) -> int:
        """Everything before this offset was handed out (compaction leaves gaps in the offsets)."""
        ...

    def end_offset(self) -> int:
        """The offset after the last record, asked of the log now. Raises Unavailable when cut off."""
        ...

    def close(self) -> None: ...


class Log(Protocol):
    """An event log: two topics, from both sides.

    Only `create` makes topics. `consumer`, `control_reader` and `producer` raise Unavailable where Kafka has none yet, and
    Invalid where they are not such as a log may have.
    """

    @property
    def name(self) -> str:
        """For messages to people; without secrets."""
        ...

    def partitions(self) -> int:
        """Of the events. Raises Unavailable, also where the topics were not created yet."""
        ...

    def identity(self) -> str:
        """Of the topic of events: another one after it was deleted and made anew. "" where it comes and goes with control.
        Raises Unavailable."""
        ...

    def consumer(self, group: str = GROUP, *, from_beginning: bool = True) -> Consumer:
        """A new member. Where the group committed nothing yet, it starts at the first record, or else after the last."""
        ...

    def control_reader(self) -> ControlReader: ...

    def producer(self) -> Sink: ...

    def create(self, partitions: int | None = None) -> None:
        """Set both topics up; does nothing where that was done.

        Raises:
            Invalid: the events have another number of partitions already; Kafka's topics cannot be set right.
            Unavailable: the log cannot be reached.
        """
        ...

    def extend(self, partitions: int) -> None:
        """Give the events so many partitions in all. What is there stays where it is, and the new ones are empty; whoever reads is
        assigned them sooner or later. Does nothing where there are so many. Keys have another place from then on, so this is
        only part of a change of their number: see `pipeline.work.growth`.

        Raises:
            Invalid: there are more already; a log never gets fewer.
            Unavailable: the log cannot be reached, or has no topics yet.
        """
        ...

    def members(self, group: str = GROUP) -> list[str]:
        """Who reads the events in this group now, as a message names them; who died is in it until the group gives it up.
        Raises Unavailable."""
        ...

    def check(self) -> list[str]:
        """What is wrong, one sentence each with how to mend it; empty when all is well. Does not raise."""
        ...

    def trim(self, positions: Mapping[int, int], *, wipe: bool = False) -> None:
        """Give up events below these offsets (committed before) and superseded control; Kafka does so by itself. ``wipe``: no byte
        of them may be left in a file of ours."""
        ...

    def retention(self) -> int | None:
        """For how long at most an event stays here by itself, µs from when it was appended; 0: until it was processed (``trim``);
        None: for ever. Raises Unavailable."""
        ...

    def close(self) -> None: ...
