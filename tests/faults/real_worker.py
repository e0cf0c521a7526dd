"""A worker in a process of its own, until it is asked to stop; can stop or end itself at a step.

    python -m tests.faults.real_worker LOG STORE SETTINGS

SETTINGS, JSON: fields of ``Policy``; ``at``: [step, n, signal], sent to itself at the n-th time that it has reached the step.
Prints its counters as JSON when it ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import Any

from pipeline.log import open_log
from pipeline.store import open_store
from pipeline.worker import Policy, Worker
from tests.faults.stories import definitions


def main(log_url: str, store_url: str, text: str) -> None:
    settings: dict[str, Any] = json.loads(text)
    step, left, name = settings.pop("at", ("", 0, ""))

    def checkpoint(reached: str) -> None:
        nonlocal left
        if reached == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.Signals[f"SIG{name}"])

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    flows, landscape = definitions()
    log, store = open_log(log_url, os.environ), open_store(store_url, os.environ)
    policy = Policy(
        **{"poll_ms": 50, "longest_backoff": 0.5, "tick_every": 500_000, "pulse_every": 500_000, **settings}
    )
    worker = Worker(
        log, store, flows=flows, landscape=landscape, name=f"real-{os.getpid()}", policy=policy, stop=stop,
        checkpoint=checkpoint,
    )  # fmt: skip
    worker.run()
    store.close()
    log.close()
    print(json.dumps(asdict(worker.counters)))


if __name__ == "__main__":
    main(*sys.argv[1:])
