"""What happens to the soak each minute. A fault returns when what it did is undone; from then on the pipeline heals itself."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable

from tests.soak.plan import SYSTEMS
from tests.soak.site import SESSION_MS, Process, Site
from tracer.record import EPOCH, EVENTS, KIND, SOURCE, Record
from tracer.sinks import open_sink

_PAST_SESSION = SESSION_MS / 1000 + 4
_PAST_LEASE = 12.0
Fault = Callable[[Site, random.Random], str]


def kill_worker(site: Site, chance: random.Random) -> str:
    process = chance.choice(site.workers[:2])
    process.kill()
    process.start()
    return f"kill -9 {process.name}"


def stop_worker(site: Site, chance: random.Random) -> str:
    process = chance.choice(site.workers[:2])
    _stopped(process, _PAST_SESSION)
    return f"{process.name} stopped {_PAST_SESSION:.0f} s"


def kill_broker(site: Site, chance: random.Random) -> str:
    hard = chance.random() < 0.5
    if hard:
        site.broker.kill()
    else:
        site.broker.stop()
    time.sleep(3)
    site.broker.start()
    return f"broker {'kill -9' if hard else 'stopped'}, started"


def kill_store(site: Site, chance: random.Random) -> str:
    site.store.kill()
    time.sleep(5)
    site.start_store()
    return "store kill -9, started after 5 s"


def kill_source(site: Site, chance: random.Random) -> str:
    process = site.sources[chance.choice(SYSTEMS)]
    process.kill()
    time.sleep(2)
    process.start()
    return f"{process.name} kill -9, started after 2 s"


def stop_source(site: Site, chance: random.Random) -> str:
    process = site.sources[chance.choice(SYSTEMS)]
    _stopped(process, _PAST_LEASE)
    return f"{process.name} stopped {_PAST_LEASE:.0f} s"


_bursts = itertools.count(1)


def poison(site: Site, chance: random.Random) -> str:
    """From a source of its own, every other time so much that it is set aside."""
    number = next(_bursts)
    count = 40 if number % 2 else 400
    headers = ((KIND, b"event"), (SOURCE, b"poison-%d" % number), (EPOCH, b"1"))
    sink = open_sink(site.log_url, os.environ)
    sink.produce([Record(EVENTS, b"order:%d" % n, b'{"id": "broken"}', headers) for n in range(count)])
    sink.close()
    return f"{count} poison events"


def rebalance(site: Site, chance: random.Random) -> str:
    third = site.workers[2]
    third.start()
    time.sleep(12)
    third.stop()
    return "a third worker joins, and leaves after 12 s"


def _stopped(process: Process, seconds: float) -> None:
    process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.signal(signal.SIGCONT)


FAULTS: tuple[Fault, ...] = (
    kill_worker, stop_source, kill_store, rebalance, kill_broker, poison, stop_worker, kill_source,
)  # fmt: skip
"""In turn."""
