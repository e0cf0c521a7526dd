"""The flows that ship, judged: what each says it teaches is what it does."""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import pytest

from pipeline.core.calendar import WorkingTime
from pipeline.core.hearing import Hearing, Knowledge
from pipeline.core.judge import judge
from pipeline.core.state import State
from schemas.event import Event, Phase
from schemas.flow import Flows
from schemas.flow_file import SHIPPED_FLOWS, load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import load_landscape
from schemas.times import DAY, HOUR, MINUTE, SECOND, format_time, parse_time
from schemas.verdict import FindingKind, Verdict
from schemas.wire import observed

START = parse_time("2026-03-02T09:00:00Z")  # a Monday
UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


@cache
def shipped() -> tuple[Flows, Landscape]:
    landscape = load_landscape([SHIPPED_FLOWS])
    return load_flows([SHIPPED_FLOWS], landscape), landscape


def after(text: str) -> int:
    return START + int(float(text[:-1]) * UNITS[text[-1]])


def heard(until: int, deaf: dict[str, tuple[int, int]]) -> Knowledge:
    """Everybody was heard until then, but for the intervals given."""
    flows, landscape = shipped()
    steps: dict[str, set[tuple[str, str]]] = {}
    for flow in flows.all():
        steps.setdefault(flow.key, set()).update((name, step.system) for name, step in flow.steps.items())
    return Knowledge(
        control_time=until + 10 * SECOND,
        hearing={name: Hearing(name, until, (deaf[name],) if name in deaf else ()) for name in landscape.systems},
        landscape=landscape,
        calendars={name: WorkingTime(calendar) for name, calendar in landscape.calendars.items()},
        known_steps={key: frozenset(known) for key, known in steps.items()},
    )


def told(name: str, story: str, attributes: dict[str, bool | int | float | str] | None = None) -> list[Event]:
    """Events of ``"placed 0m, paid 2m failed, packed 1d #p1"``; the first carries the attributes."""
    flow = shipped()[0].latest(name)
    events = []
    for number, part in enumerate(story.split(", ")):
        step, time, *rest = part.split()
        parcel = [word[1:] for word in rest if word.startswith("#")]
        phase = next((word for word in rest if not word.startswith("#")), "completed")
        keys = {flow.key: "T", **({"parcel": parcel[0]} if parcel else {})}
        events.append(
            Event(
                id=f"e{number}", system=flow.steps[step].system, step=step, phase=Phase(phase), time=after(time), keys=keys,
                attributes=(attributes or {}) if number == 0 else {}, error="broken" if phase == "failed" else None,
            )
        )  # fmt: skip
    return events


def verdict_of(name: str, events: list[Event], now: str, deaf: dict[str, tuple[int, int]] | None = None) -> Verdict:
    flow = shipped()[0].latest(name)
    return judge(State.of(flow.key, "T", [observed(event) for event in events]), flow, heard(after(now), deaf or {}))


class Case(NamedTuple):
    flow: str
    story: str
    now: str
    status: str
    missing: str = ""  # the drops' steps
    kinds: str = ""
    attributes: tuple[tuple[str, bool | int | float | str], ...] = ()


ORDER = (
    "placed 0m, paid 1m received, paid 2m, confirmed 5m, picked 1d, packed 1.2d #p1, shipped 1.5d #p1, delivered 3d #p1"
)
ONE = (("parcels", 1), ("promised_at", format_time(START + 3 * DAY)))
THREE = (("parcels", 3), ("promised_at", format_time(START + 3 * DAY)))
NIGHT = (("deadline", format_time(START + 9 * HOUR)),)
MOVE = (("switch_by", format_time(START + 20 * DAY)),)

CASES = {
    # order
    "an order": Case("order", ORDER, "4d", "completed", attributes=ONE),
    "on its way to payments": Case("order", "placed 0m", "14m", "in_progress"),
    "never at payments": Case("order", "placed 0m", "16m", "stalled", "paid", "in_transit"),
    "stuck in payments": Case("order", "placed 0m, paid 1m received", "16m", "stalled", "paid", "inside"),
    "lost in payments": Case("order", "placed 0m, paid 1m received", "15d", "lost", "paid", "inside"),
    "a charge that failed": Case("order", "placed 0m, paid 1m failed", "12m", "failed", "paid", "failed"),
    "a charge that may be retried": Case("order", "placed 0m, paid 1m failed", "10m", "in_progress"),
    "a charge that a retry healed": Case(
        "order", ORDER.replace("1m received", "1m failed"), "4d", "completed", attributes=ONE
    ),
    "no confirmation": Case("order", ORDER.replace("confirmed 5m, ", ""), "4d", "stalled", "confirmed", "between", ONE),
    "one parcel of three": Case("order", ORDER, "4d", "stalled", "packed", "between", THREE),
    "not shipped by what was promised": Case(
        "order", ORDER.partition(", shipped")[0], "3.1d", "stalled", "shipped", "between", ONE
    ),
    "rejected": Case("order", "placed 0m, rejected 1m", "20d", "closed"),
    "cancelled in time": Case("order", "placed 0m, cancelled 5m", "20d", "closed"),
    "cancelled and not refunded": Case("order", "placed 0m, paid 2m, cancelled 5m", "6d", "stalled", "refunded", "between"),
    "cancelled and refunded": Case("order", "placed 0m, paid 2m, cancelled 5m, refunded 1d", "20d", "closed"),
    "cancelled too late": Case(
        "order", "placed 0m, paid 2m, confirmed 5m, picked 1d, cancelled 1.1d", "2.1d", "stalled", "packed", "between", ONE
    ),
    # login
    "a login": Case("login", "requested 0s, password 1s, security_check 2s, session 3s", "4s", "completed"),
    "a login under way": Case("login", "requested 0s, password 1s received", "5s", "in_progress"),
    "a login that hangs": Case("login", "requested 0s, password 1s received", "11s", "stalled", "password", "inside"),
    "a login that failed at once": Case("login", "requested 0s, password 1s failed", "3s", "failed", "password", "failed"),
    "no session": Case("login", "requested 0s, password 1s, security_check 2s", "30s", "stalled", "session", "between"),
    "a login of yesterday": Case("login", "requested 0s, password 1s, security_check 2s", "1d", "lost", "session", "between"),
    "a wrong password": Case("login", "requested 0s, password 1s received, denied 2s", "1h", "closed"),
    "a login that was blocked": Case("login", "requested 0s, password 1s, blocked 2s", "1h", "closed"),
    # statement
    "a statement": Case("statement", "scheduled 0h, produced 2h, printed 5h, posted 8h", "9h", "completed", attributes=NIGHT),
    "a statement in the night": Case("statement", "scheduled 0h, produced 2h", "8h", "in_progress", attributes=NIGHT),
    "a statement not printed by the deadline": Case(
        "statement", "scheduled 0h, produced 2h", "9.1h", "stalled", "printed", "between", NIGHT
    ),
    "a statement stuck in the composer": Case(
        "statement", "scheduled 0h, produced 1h received", "9.1h", "stalled", "produced", "inside", NIGHT
    ),
    "nothing to bill": Case("statement", "scheduled 0h, suppressed 1h", "9d", "closed", attributes=NIGHT),
    # service-move
    "a move": Case(
        "service-move", "ordered 0d, old_line_ended 9d, new_line_started 10d, billing_transferred 12d, finished 13d", "14d",
        "completed", attributes=MOVE,
    ),
    "a move before its day": Case("service-move", "ordered 0d", "19d", "in_progress", attributes=MOVE),
    "a move whose old line still runs": Case(
        "service-move", "ordered 0d, new_line_started 10d, billing_transferred 12d", "21d", "stalled", "old_line_ended",
        "in_transit", MOVE,
    ),
    "a move closed although the old line still runs": Case(
        "service-move", "ordered 0d, new_line_started 10d, billing_transferred 12d, finished 13d", "21d", "stalled",
        "old_line_ended", "in_transit", MOVE,
    ),
    "a move of which only the closing is missing": Case(
        "service-move", "ordered 0d, old_line_ended 9d, new_line_started 10d, billing_transferred 12d", "15d", "stalled",
        "finished", "between", MOVE,
    ),
    "a technician who comes again": Case(
        "service-move", "ordered 0d, new_line_started 10d failed, new_line_started 10.5d, old_line_ended 11d, "
        "billing_transferred 12d, finished 13d", "14d", "completed", attributes=MOVE,
    ),
    "a move called off": Case("service-move", "ordered 0d, cancelled 3d", "99d", "closed", attributes=MOVE),
    "a move called off too late": Case(
        "service-move", "ordered 0d, old_line_ended 9d, cancelled 10d", "21d", "stalled", "new_line_started", "in_transit", MOVE
    ),
    # checkout
    "a cart that became an order": Case("checkout", "opened 0m, checked_out 5m, placed 8m", "9m", "completed"),
    "one click": Case("checkout", "opened 0m, placed 1m", "2m", "completed"),
    "an open cart": Case("checkout", "opened 0m", "29m", "in_progress"),
    "an abandoned cart": Case("checkout", "opened 0m", "31m", "closed"),
    "an abandoned cart, days later": Case("checkout", "opened 0m", "3d", "closed"),
    "the half hour begins anew at the till": Case("checkout", "opened 0m, checked_out 20m", "45m", "in_progress"),
    "abandoned at the till": Case("checkout", "opened 0m, checked_out 20m", "51m", "closed"),
    "abandoned at the till, days later": Case("checkout", "opened 0m, checked_out 20m", "3d", "closed"),
    "ordered after an hour": Case("checkout", "opened 0m, placed 60m", "61m", "completed"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_flow_that_ships_says_what_it_teaches(name: str) -> None:
    case = CASES[name]
    verdict = verdict_of(case.flow, told(case.flow, case.story, dict(case.attributes)), case.now)
    drops = [drop for drop in verdict.drops if drop.status == case.status]
    assert (verdict.status.value, " ".join(drop.to_step for drop in drops)) == (case.status, case.missing), (
        verdict.drops
    )
    assert " ".join(drop.kind.value for drop in drops) == case.kinds
    if case.status in ("completed", "closed"):
        assert verdict.drops == ()
        assert verdict.ended_at is not None


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.flow == "checkout" or case.status == "completed"]
)
def test_nothing_is_found_wrong_where_nothing_is(name: str) -> None:
    case = CASES[name]
    verdict = verdict_of(case.flow, told(case.flow, case.story, dict(case.attributes)), case.now)
    assert verdict.findings == ()


def test_a_cart_is_not_called_abandoned_while_the_shop_was_not_heard() -> None:
    deaf = {"shop": (after("10m"), after("40m"))}
    assert verdict_of("checkout", told("checkout", "opened 0m"), "45m", deaf).status == "in_progress"
    assert verdict_of("checkout", told("checkout", "opened 0m"), "2d", deaf).status == "unknown"


def test_one_event_ends_the_cart_and_begins_the_order() -> None:
    events = told("checkout", "opened 0m, placed 8m")
    shared = events[-1].model_copy(update={"keys": {"cart": "T", "order": "T"}})
    cart = verdict_of("checkout", [events[0], shared], "10m")
    order = verdict_of("order", [shared], "10m")
    assert (cart.status, cart.findings) == ("completed", ())
    assert (order.status, order.findings) == ("in_progress", ())


def test_test_orders_are_counted_and_not_judged() -> None:
    assert verdict_of("order", told("order", "placed 0m", {"test": "true"}), "30d").excluded


def test_a_late_delivery_is_late_and_not_missing() -> None:
    verdict = verdict_of(
        "order",
        told("order", ORDER.replace("shipped 1.5d", "shipped 3.5d").replace("delivered 3d", "delivered 4d"), dict(ONE)),
        "5d",
    )
    assert verdict.status == "completed"
    assert [(one.kind, one.step) for one in verdict.findings] == [(FindingKind.LATE, "shipped")]


@pytest.mark.parametrize(
    "name", ["a move", "an order", "cancelled too late", "abandoned at the till", "a charge that a retry healed"]
)
def test_the_order_of_arrival_changes_nothing(name: str) -> None:
    case = CASES[name]
    events = told(case.flow, case.story, dict(case.attributes))
    wanted = verdict_of(case.flow, events, case.now)
    for shuffled in itertools.islice(itertools.permutations(events), 0, None, 97):
        assert verdict_of(case.flow, list(shuffled), case.now) == wanted
