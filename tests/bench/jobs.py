"""One measurement in a process of its own; prints its figures as JSON on its last line.

python -m tests.bench.jobs JOB ARGUMENT…
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

# Job to module and function. A process loads what it measures and no more: chDB alone takes 250 MB and brings its own allocator.
JOBS = {
    "produce": ("throughput", "produce"),
    "raw": ("throughput", "raw"),
    "worker": ("throughput", "worker"),
    "standing": ("throughput", "standing"),
    "prepare": ("standing", "prepare"),
    "restart": ("standing", "restart"),
    "weigh": ("standing", "weigh"),
    "deadline": ("standing", "deadline"),
    "serve": ("reading", "serve_until_told"),
    "write": ("reading", "write"),
    "many": ("reading", "prepare"),
    "lookup": ("reading", "lookups"),
    "report": ("reading", "report"),
    "tracer": ("tracer_cost", "cost"),
    "collect": ("collect", "measure"),
}

if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    module, function = JOBS[job]
    print(json.dumps(getattr(import_module(f"tests.bench.{module}"), function)(*arguments)))
