"""`LiveInput`: where records come from while a collector runs.

One shape for what is read (files, tables, topics) and what is received (OTLP, HTTP, syslog). An input hands out *parcels*; the
runner maps and emits what is in them, and settles a parcel once the log has acknowledged all of it, not before. So a file's
position is saved, a topic's offset committed, and a request answered, for nothing that could still be lost.

Laws, held by one suite for every input:

- Read = events ∪ quarantined: everything that was there is handed out, in order within its stream; after a crash at any moment
  the records behind the last settled parcel come again, with the same streams and places, and so with the same event ids.
- An input bounds what it has handed out and is not settled; one that receives refuses what is beyond (HTTP 503 with
  Retry-After, gRPC UNAVAILABLE, no more bytes read from a TCP connection). One that cannot refuse (UDP) counts what it drops.
- `LiveInput.through` never vouches for what was there and was not handed out.
- Nothing that is received raises out of ``poll``: ``Unavailable`` where the source is away (the runner backs off and goes on),
  ``Invalid`` where it can never be read as declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from collectors.formats.contract import Format, Item


class Placed(NamedTuple):
    """An item and its place: with the stream's name it is the same whenever it is read, and no other item has it."""

    place: str
    item: Item


def _ignored(_: Exception | None) -> None:
    return None


@dataclass(slots=True, eq=False)
class Parcel:
    """What was read or received in one go, and is acknowledged in one go.

    Attributes:
        stream: identity of the stream (a file's fingerprint, topic and partition, a table); "" where places are unique by
            themselves. Event ids of records without a primary key are made of it and of the place.
        items: in order.
        name: for messages and quarantine: a path, ``topic[partition]@offset``, a peer's address; without secrets.
        known: µs, when the collector came to know of it; None for now.
        around: µs, about when it was written, for times that name no year; None for now.
        settle: called once, with None when the log has acknowledged all of it (quarantined items included), or with an error
            when it was given up (the collector is stopping); the sender may send it again then.
    """

    stream: str
    items: list[Placed]
    name: str = ""
    known: int | None = None
    around: int | None = None
    settle: Callable[[Exception | None], None] = field(default=_ignored)


class Positions(Protocol):
    """What a collector remembers between two runs: a small JSON object a stream, saved at once and durably."""

    def get(self, stream: str) -> Mapping[str, Any] | None: ...

    def all(self) -> Mapping[str, Mapping[str, Any]]: ...

    def put(self, stream: str, position: Mapping[str, Any]) -> None:
        """Remembered with the next save, which the runner makes after it has settled parcels."""
        ...

    def drop(self, stream: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What an input is opened with. ``clock``: µs now. ``once``: read what there is, then end. ``base``: the folder of the
    collector's file, from which relative paths count. ``env``: where secrets are read."""

    format: Format
    positions: Positions
    clock: Callable[[], int]
    env: Mapping[str, str]
    base: Path
    once: bool = False


class LiveInput(Protocol):
    """An input at work. Used by one thread; one that receives has threads of its own behind a bounded queue."""

    @property
    def name(self) -> str:
        """For messages; without secrets."""
        ...

    def poll(self, timeout: float) -> list[Parcel]:
        """Parcels that are there, waiting up to ``timeout`` seconds for the first.

        Raises:
            Unavailable: the source is away.
            Invalid: it can never be read as declared.
        """
        ...

    def through(self) -> int | None:
        """µs: everything that was there to be known before has been handed out. None where the input cannot say: others wrote
        what it reads, and nothing tells whether they are still there."""
        ...

    @property
    def finished(self) -> bool:
        """With ``once``: all there was has been handed out."""
        ...

    def close(self) -> None: ...


class InputSpec(Protocol):
    """An input as it is declared in a collector's file: a frozen pydantic model."""

    def open(self, context: Context) -> LiveInput:
        """Raises ``Invalid`` where it makes no sense, ``Unavailable`` where it is away."""
        ...


INPUTS = {
    "file": "collectors.inputs.file:FileInput",
    "stdin": "collectors.inputs.stdin:StdinInput",
    "table": "collectors.inputs.growing_table:GrowingTableInput",
    "kafka": "collectors.inputs.kafka:KafkaInput",
    "otlp": "collectors.inputs.otlp:OtlpInput",
    "http": "collectors.inputs.http:HttpInput",
    "syslog": "collectors.inputs.syslog:SyslogInput",
}
"""By name in a collector's file (``input: {file: {paths: […]}}``): module and class of the declaration (`InputSpec`)."""
