"""A worker on a real Kafka and a served store that kills itself, as with kill -9, when it reaches a step for the n-th time.

python -m tests.faults.doomed LOG_URL STORE_FOLDER DATABASE STEP N
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from pipeline.log import open_log
from pipeline.store.embedded import open_embedded
from pipeline.worker import Policy, Worker
from tests.faults.stories import definitions

POLICY = Policy(max_records=7, patience=60.0)


class Kill:
    """The checkpoint that ends the process."""

    def __init__(self, step: str, at: int):
        self.step, self.left = step, at

    def __call__(self, step: str) -> None:
        if step == self.step:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(log_url: str, folder: str, database: str, step: str, at: str) -> None:
    flows, landscape = definitions()
    store = open_embedded(Path(folder), {}, database)
    worker = Worker(
        open_log(log_url),
        store,
        flows=flows,
        landscape=landscape,
        name="doomed",
        policy=POLICY,
        checkpoint=Kill(step, int(at)),
    )
    worker.drain()
    worker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
