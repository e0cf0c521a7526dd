"""An instrumented application as a process of its own: ``python -m tests.tracer.program WHAT LOG SPOOL``.

Prints what it has done, a line each, so that a test knows without waiting.
"""

from __future__ import annotations

import os
import sys
import time

import tracer


def order(number: object) -> None:
    with tracer.transaction(order=number), tracer.step("placed"):
        pass


def say(*what: object) -> None:
    print(*what, flush=True)


def until_spooled(waiting: int) -> None:
    while tracer.stats()["queued"] or tracer.stats()["unacknowledged"] < waiting:
        time.sleep(0.01)


def until_sent() -> None:
    while any(tracer.stats()[name] for name in ("queued", "unacknowledged")):
        time.sleep(0.01)


def exits() -> None:
    """Ends at once: everything is sent at exit."""
    for number in range(50):
        order(number)


def raises() -> None:
    """Ends with an error of its own, which is what it must end with."""
    order(1)
    raise SystemExit(7)


def away() -> None:
    """The log is away when it ends."""
    for number in range(20):
        order(f"away-{number}")
    until_spooled(40)


def killed() -> None:
    """Waits to be killed, when all is in the spool."""
    for number in range(100):
        order(f"lost-{number}")
    until_spooled(200)
    time.sleep(2.3)  # the spool is told once a second through when it knows everything
    say("ready")
    time.sleep(60)


def forks() -> None:
    """A parent and two children, one of which forks again; each says what only it has done."""
    order("before")
    until_sent()
    order("queued before")
    for name in ("one", "two"):
        if os.fork() == 0:
            order(f"child {name}")
            if name == "two" and os.fork() == 0:
                order("grandchild")
            elif name == "two":
                os.wait()
            sys.exit(0)
    for _ in range(2):
        say("ended", os.waitstatus_to_exitcode(os.wait()[1]))
    order("after")


def forks_idle() -> None:
    """A child that reports nothing ends at once, and says nothing."""
    order("parent")
    until_sent()
    if os.fork() == 0:
        sys.exit(0)
    say("ended", os.waitstatus_to_exitcode(os.wait()[1]))


if __name__ == "__main__":
    _, what, log, spool = sys.argv
    patience = 0.5 if what == "away" else 8.0
    tracer.init("shop", log, source="shop-1", spool=spool, transaction_types=("order",), exit_timeout=patience)
    {"exits": exits, "raises": raises, "away": away, "killed": killed, "forks": forks, "forks_idle": forks_idle}[what]()
