"""A control topic to write by hand: records with the second at which they are appended, and the fold of them."""

from __future__ import annotations

from pipeline.core.control import ControlFold
from pipeline.core.hearing import Hearing
from schemas.control import Control, Distrust, Goodbye, Hello, Marker, Own, Progress, decode_control, encode_control
from schemas.landscape import Landscape

S = 1_000_000
STRICT = Landscape(tolerate=0)


class Topic:
    """Times are seconds here and µs in the records. ``rows``: (offset, append time, record) of all that was written."""

    def __init__(self, landscape: Landscape = STRICT):
        self.fold = ControlFold(landscape)
        self.rows: list[tuple[int, int, Control]] = []
        self.now = 0.0

    def write(self, at: float, record: Control) -> int:
        """Append a record; through its bytes, as everybody reads it. Returns its offset."""
        self.now = at
        offset = len(self.rows)
        self.rows.append((offset, int(at * S), decode_control(encode_control(record))))
        self.fold.apply(*self.rows[-1])
        return offset

    def hello(
        self, at: float, source: str = "a", epoch: int = 1, system: str = "A", *,
        boot: float | None = None, since: float | None = None, every: float = 2,
    ) -> int:  # fmt: skip
        boot = at if boot is None else boot
        since = boot if since is None else since
        return self.write(
            at,
            Hello(
                source=source, epoch=epoch, systems=(system,), boot=int(boot * S), since=int(since * S),
                every=int(every * S),
            ),
        )  # fmt: skip

    def marker(
        self, at: float, source: str = "a", epoch: int = 1, system: str = "A", *, through: float | None = None,
        acked: dict[int, int] | None = None, skew: float | None = None, shed: int = 0,
    ) -> int:  # fmt: skip
        return self.write(
            at,
            Marker(
                source=source, epoch=epoch, systems=(system,), through=int((at if through is None else through) * S),
                acked=acked or {}, skew=None if skew is None else int(skew * S), shed=shed, sent=shed,
            ),
        )  # fmt: skip

    def goodbye(
        self, at: float, source: str = "a", epoch: int = 1, system: str = "A", *, through: float | None = None,
        acked: dict[int, int] | None = None, state: str = "open", skew: float | None = None, shed: int = 0,
    ) -> int:  # fmt: skip
        return self.write(
            at,
            Goodbye(
                source=source, epoch=epoch, systems=(system,), through=int((at if through is None else through) * S),
                acked=acked or {}, state=state, skew=None if skew is None else int(skew * S), shed=shed, sent=shed,
            ),
        )  # fmt: skip

    def own(self, at: float, partition: int, after: int = -1, worker: str = "w") -> int:
        return self.write(at, Own(partition=partition, after=after, worker=worker))

    def progress(
        self, at: float, partition: int, position: int, *, fence: int | None = None, through: float = 0,
        forwarded: dict[int, dict[int, int]] | None = None,
    ) -> int:  # fmt: skip
        known = self.fold.partitions.get(partition)
        fence = fence if fence is not None else known.fence if known else -1
        return self.write(
            at,
            Progress(
                partition=partition, fence=fence, position=position, through=int(through * S), forwarded=forwarded or {}
            ),
        )  # fmt: skip

    def distrust(self, at: float, source: str = "a", epoch: int = 1, *, since: float, lifted: bool = False) -> int:
        return self.write(at, Distrust(source=source, epoch=epoch, since=int(since * S), lifted=lifted))

    def alive(self, begin: float, end: float, source: str, epoch: int = 1, system: str = "A", every: float = 2) -> None:
        """Markers from ``begin`` to ``end``, each vouching for all until then."""
        at = begin
        while at <= end:
            self.marker(at, source, epoch, system)
            at += every

    def hearing(self, system: str = "A") -> Hearing:
        return self.fold.hearing(system)

    def clock(self, system: str = "A") -> float:
        """The system's clock in seconds."""
        return self.fold.hearing(system).clock / S

    def deaf(self, begin: float, end: float, system: str = "A") -> list[tuple[float, float]]:
        """What of [begin, end] was not heard, in seconds."""
        heard = self.fold.hearing(system)
        return [(a / S, b / S) for a, b in heard.deaf_within(int(begin * S), int(end * S))]


def compacted(rows: list[tuple[int, int, Control]], lag: int) -> list[tuple[int, int, Control]]:
    """As the log compacts control: of what is older than ``lag`` µs, only the last of each key stays."""
    newest = {record.key(): offset for offset, _, record in rows}
    horizon = rows[-1][1] - lag if rows else 0
    return [row for row in rows if row[1] >= horizon or newest[row[2].key()] == row[0]]


def fold_of(rows: list[tuple[int, int, Control]], landscape: Landscape) -> ControlFold:
    fold = ControlFold(landscape)
    for row in rows:
        fold.apply(*row)
    return fold
