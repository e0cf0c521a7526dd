"""The soak: constant load on a real Kafka and a served store, and a fault every minute.

    python -m tests.soak --minutes 60 --out soak.txt

Ends with 0 where all is as it should be: nothing acknowledged is lost, nothing is called lost that was not, the workers caught up
after each fault.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.faults import FAULTS
from tests.soak.measure import Lag, memory
from tests.soak.plan import CHAIN
from tests.soak.site import Site
from tests.soak.table import Minute, tell
from tests.soak.verify import Check, verify, wait_until_said

_MINUTE = 60.0
_BEFORE_FAULT = 8.0
_SETTLING = 300.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=250.0, help="events a second, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the account is written, anew each minute")
    parser.add_argument("--folder", type=Path, help="for data and logs (default: a temporary one)")
    parser.add_argument("--aliases", action=argparse.BooleanOptionalAction, default=None)
    return parser.parse_args()


def main() -> int:
    given = arguments()
    # Asked to end, it ends its processes too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="lastseen-soak-"))
    aliases = given.aliases
    if aliases is None:
        aliases = importlib.util.find_spec("pipeline.work.courier") is not None
    site = Site(folder, minutes=given.minutes, rate=given.rate / len(CHAIN), seed=given.seed, aliases=aliases)
    head = (
        f"soak of {given.minutes} minutes, {given.rate:g} events/s, seed {given.seed}, "
        f"{'a third of the payments under an alias' if aliases else 'no aliases'}; in {folder}"
    )
    print(head, flush=True)
    minutes: list[Minute] = []
    lag = None
    try:
        site.start()
        lag = Lag(site.log_url)
        poisoned = 0
        chance = random.Random(given.seed)
        for number in range(1, given.minutes + 1):
            minutes.append(one_minute(number, site, lag, chance))
            fault = minutes[-1].fault
            poisoned += int(fault.split()[0]) if fault.endswith("poison events") else 0
            tell(given.out, head, minutes, [])
        settle(site)
        checks = [*verify(site, poisoned), *_of_minutes(minutes, lag)]
        tell(given.out, head, minutes, checks, audit(site))
        return 0 if all(check.good is not False for check in checks) else 1
    finally:
        if lag is not None:
            lag.close()
        site.stop()


def one_minute(number: int, site: Site, lag: Lag, chance: random.Random) -> Minute:
    begin = site.begin + (number - 1) * _MINUTE
    _sleep_until(begin + _BEFORE_FAULT, site)
    struck = time.time()
    told = FAULTS[(number - 1) % len(FAULTS)](site, chance)
    healed = time.time()
    _sleep_until(begin + _MINUTE, site)
    died = sum(process.unexpected for process in (site.store, *site.workers, *site.sources.values()))
    return Minute(number, told, lag.recovery(struck, healed), memory(site), died)


def _sleep_until(moment: float, site: Site) -> None:
    while time.time() < moment:
        site.look_after()
        time.sleep(min(1.0, max(0.0, moment - time.time())))


def settle(site: Site) -> None:
    """No new orders; what is under way ends, and what was lost is called so. Then the sources say goodbye."""
    _sleep_until(site.until + 15, site)
    wait_until_said(site, _SETTLING, time.sleep)
    for source in site.sources.values():
        source.stop()
    time.sleep(5)


def _of_minutes(minutes: list[Minute], lag: Lag) -> list[Check]:
    late = [minute.number for minute in minutes if minute.recovery.level is None]
    last = lag.samples[-1].lag if lag.samples else -1
    died = minutes[-1].unexpected if minutes else 0
    return [
        Check("minutes within which the workers did not catch up", str(late or "none"), not late),
        Check("records not committed in the end", str(last), last == 0),
        Check("processes that ended by themselves", str(died), died == 0),
    ]


def audit(site: Site) -> str:
    """What ``lastseen audit`` says, where this version has it."""
    if importlib.util.find_spec("pipeline.answers.audit") is None:
        return ""
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline import main; main()", "audit"],
        env={"LASTSEEN_LOG": site.log_url, "LASTSEEN_STORE": site.store_url, "COLUMNS": "120", "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"lastseen audit (ended with {done.returncode})\n{done.stdout[-6000:]}{done.stderr[-2000:]}"


if __name__ == "__main__":
    sys.exit(main())
