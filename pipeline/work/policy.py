"""Policy: a worker's limits, frozen and read once; what it counts; and how it is told to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pipeline.work.trust import TrustPolicy
from schemas.times import SECOND


class Stopping(Exception):  # noqa: N818  (a request, not an error)
    """The worker was asked to stop while a service was away."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How much at once, how long to pause. ``capacity``: events held as objects, about 2 KB each; what is open beyond lies packed.
    Times in µs, but ``patience`` and backoffs in seconds (None: for ever).

    ``tick_every``: between words of progress of every partition. ``pulse_every``: the longest that control may stand still
    while we live, less than half of the shortest lease: leases of sources that died run on control time.
    """

    max_records: int = 5_000
    poll_ms: int = 200
    max_due: int = 5_000
    capacity: int = 100_000
    tick_every: int = 5 * SECOND
    pulse_every: int = 2 * SECOND
    first_backoff: float = 0.2
    longest_backoff: float = 10.0
    patience: float | None = None
    trim_every: int = 200
    trust: TrustPolicy = field(default_factory=TrustPolicy)


@dataclass(slots=True)
class Counters:
    """What a worker did since it started, for people and metrics."""

    records: int = 0
    events: int = 0
    quarantined: int = 0
    verdicts: int = 0
    flips: int = 0
    batches: int = 0
    forwarded: int = 0
    conflicts: int = 0
    retries: int = 0


def monotonic_micros() -> int:
    return time.monotonic_ns() // 1_000
