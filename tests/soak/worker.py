"""A worker of the soak: what ``lastseen worker`` runs, with the soak's flow alone and a cache so small that its bound is seen.

python -m tests.soak.worker LOG STORE
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.cli.service import run, stopping
from pipeline.log import open_log
from pipeline.store import open_store
from pipeline.worker import Policy, Worker
from schemas.flow_file import load_flows
from schemas.landscape_file import load_landscape

FLOWS = Path(__file__).parent / "flows"
# Of a million events the cache would not be full before the hour is over.
CAPACITY = 20_000


def main(log_url: str, store_url: str) -> None:
    landscape = load_landscape([FLOWS])
    flows = load_flows([FLOWS], landscape)
    with stopping() as stop:
        log, store = open_log(log_url, os.environ), open_store(store_url, os.environ)
        policy = Policy(capacity=CAPACITY, longest_backoff=2.0)
        run(Worker(log, store, flows=flows, landscape=landscape, name=f"soak-{os.getpid()}", policy=policy, stop=stop))
        store.close()
        log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
