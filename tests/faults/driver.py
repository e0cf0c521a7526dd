"""A worker in a process of its own that ends, or stops, itself at a step.

    python -m tests.faults.driver LOG STORE STEP N SIGNAL

At the N-th time that it has reached STEP it sends itself SIGNAL (KILL, STOP; NONE for an undisturbed run).
"""

from __future__ import annotations

import os
import signal
import sys

from pipeline.log import open_log
from pipeline.store import open_store
from pipeline.worker import Policy, Worker
from tests.faults.stories import definitions

MAX_RECORDS = 12


def main(log_url: str, store_url: str, step: str, number: str, name: str) -> None:
    left = int(number)

    def checkpoint(reached: str) -> None:
        nonlocal left
        if reached == step and name != "NONE":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.Signals[f"SIG{name}"])

    flows, landscape = definitions()
    log, store = open_log(log_url, os.environ), open_store(store_url, os.environ)
    policy = Policy(max_records=MAX_RECORDS, poll_ms=50, patience=30.0)
    worker = Worker(
        log, store, flows=flows, landscape=landscape, name=f"driver-{os.getpid()}", policy=policy, checkpoint=checkpoint
    )
    worker.drain()
    worker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
