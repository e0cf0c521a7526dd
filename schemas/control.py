"""Control records: what sources say of themselves, how far workers are, what was published and decided (DESIGN.md §4).

They travel in ``lastseen.control``, one partition, therefore one total order. The record's key is what the topic is
compacted by: kind, name and epoch, or kind, partition and fence. ``Own`` records have a key of their own and stay.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.event import MAX_INTEGER, Name, _clean, first_fault
from schemas.times import SECOND

# Every number has bounds, so that what is made of it fits the store's 64 bits: a record that one worker cannot write down is
# read by every worker at every start.
Time = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER, description="microseconds since 1970 UTC")]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Every = Annotated[int, Field(gt=0, le=MAX_INTEGER)]
Skew = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Offset = Annotated[int, Field(ge=0, le=2**63 - 1)]
PartitionNumber = Annotated[int, Field(ge=0, lt=100_000)]
Fence = Annotated[int, Field(ge=-1, le=2**63 - 1)]
Offsets = dict[int, Offset]
Depth = Annotated[int, Field(ge=0, le=1_000)]
SourceName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_clean)]
Number = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
Ranges = Annotated[tuple[tuple[Number, Number], ...], Field(max_length=10_000)]
# None: a source that vouches for nobody, and says only how much it sent.
Systems = Annotated[tuple[Name, ...], Field(max_length=1000)]


class _Control(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _OfSource(_Control):
    source: SourceName
    epoch: Count

    def key(self) -> bytes:
        return f"{self.kind}:{self.source}:{self.epoch}".encode()  # type: ignore[attr-defined]


class Hello(_OfSource):
    """A source speaks for the first time under this epoch. It vouches for ``systems`` from ``since`` on.

    ``every``: µs between its markers; its lease is three times that. ``boot``: when the process started (log's time).
    """

    kind: Literal["hello"] = "hello"
    systems: Systems
    boot: Time
    since: Time
    every: Every = 2 * SECOND


class Marker(_OfSource):
    """All that became known to the source before ``through`` has been acknowledged at offsets below ``acked``.

    Everything is cumulative over the epoch. ``acked``: partition to the offset after the last one acknowledged. ``skew``:
    µs, the smallest difference of the log's append time and the source's clock; null where there was nothing to measure.
    ``sent``, ``shed``: events. ``shed_ranges``: running numbers of those that were shed, first and last; fewer than ``shed``
    where there were too many to tell. ``accounted``: every running number up to this one was acknowledged or shed; null where
    the source does not say so.
    """

    kind: Literal["marker"] = "marker"
    systems: Systems
    through: Time
    acked: Offsets = Field(default_factory=dict)
    skew: Skew | None = None
    sent: Count = 0
    shed: Count = 0
    shed_ranges: Ranges = ()
    accounted: Count | None = None
    every: Every | None = None


class Goodbye(_OfSource):
    """A marker's content and an end. ``open``: nothing more comes until the name says hello again; it vouches on.
    ``closed``: it vouches up to ``through`` and no further, and is no silence."""

    kind: Literal["goodbye"] = "goodbye"
    systems: Systems
    through: Time
    acked: Offsets = Field(default_factory=dict)
    skew: Skew | None = None
    sent: Count = 0
    shed: Count = 0
    shed_ranges: Ranges = ()
    accounted: Count | None = None
    state: Literal["open", "closed"] = "open"


class Own(_Control):
    """Compare and set of a partition's ownership: counts only if ``after`` is still the last fence (-1: none yet).

    The record's own offset becomes the new fence. ``claim`` tells it from another of the same worker after the same fence, as one
    whose acknowledgement was lost is written again: compaction must keep the first, which counts.
    """

    kind: Literal["own"] = "own"
    partition: PartitionNumber
    after: Fence
    worker: SourceName
    claim: Annotated[str, Field(max_length=100)] = ""

    def key(self) -> bytes:
        return f"own:{self.partition}:{self.after}:{self.worker}:{self.claim}".encode()


class Progress(_Control):
    """How far a partition has been processed, by whom (``fence``).

    ``position``: next offset to read. ``through``: everything that the log appended to the partition before this time has
    been processed, µs of the log's append clock. ``forwarded``: depth to partition to the offset after the last record
    that was produced there while reading this partition; cumulative.
    """

    kind: Literal["progress"] = "progress"
    partition: PartitionNumber
    fence: Fence
    position: Offset
    through: Time = 0
    forwarded: dict[Depth, Offsets] = Field(default_factory=dict)

    def key(self) -> bytes:
        return f"progress:{self.partition}:{self.fence}".encode()


class Partitions(_Control):
    """The number of partitions of ``lastseen.events``; and which topic that is, by the id that the log gave it."""

    kind: Literal["partitions"] = "partitions"
    count: Annotated[int, Field(ge=1, le=100_000)]
    log: Annotated[str, Field(max_length=100)] = ""

    def key(self) -> bytes:
        return b"partitions"


class FlowPublished(_Control):
    """A version of a flow as published: its name, version, digest of content, and whole content as data."""

    kind: Literal["flow"] = "flow"
    flow: Name
    version: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    digest: str
    since: Time
    content: dict[str, Any]

    def key(self) -> bytes:
        return f"flow:{self.flow}:{self.version}:{self.digest}".encode()


class Gone(_Control):
    """This source (one epoch, or all) will not come back; it frees its systems' other sources.

    A person's decision; or with ``at`` (µs, control time) what came to pass by time alone, written down by a worker so that
    whoever reads control when it is compacted knows it too.
    """

    kind: Literal["gone"] = "gone"
    source: SourceName
    epoch: Count | None = None
    at: Time | None = None

    def key(self) -> bytes:
        return f"gone:{self.source}:{'' if self.epoch is None else self.epoch}".encode()


class Distrust(_Control):
    """A worker set a source aside: its input is mostly bad (law 10). It counts as not heard from ``since`` until lifted.

    The record that lifts it repeats ``since``, by which the two are one when control is compacted.
    """

    kind: Literal["distrust"] = "distrust"
    source: SourceName
    epoch: Count
    since: Time
    lifted: bool = False
    reason: str = ""

    def key(self) -> bytes:
        return f"distrust:{self.source}:{self.epoch}:{self.since}".encode()


Control = Hello | Marker | Goodbye | Own | Progress | Partitions | FlowPublished | Gone | Distrust
CONTROL: TypeAdapter[Control] = TypeAdapter(Annotated[Control, Field(discriminator="kind")])


def decode_control(value: bytes) -> Control:
    """Control record from its JSON. Raises ``Invalid``: a reader skips and counts it, since others wrote it."""
    try:
        return CONTROL.validate_json(value)
    except ValidationError as error:
        raise first_fault(error) from None


def encode_control(record: Control) -> bytes:
    return record.model_dump_json(exclude_defaults=False).encode()
