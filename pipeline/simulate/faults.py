"""Which stories are told, how often, and how long before the end a story has to begin to be seen through."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from schemas.times import DAY, HOUR

# From this many transactions of a flow on, every one of its stories is told at least twice.
ENOUGH = 60


class Share(NamedTuple):
    """``part`` of a flow's transactions; ``settles``: µs from the start until it shows."""

    part: float
    settles: int


ORDER: dict[str, Share] = {
    "lost_in_transit": Share(0.004, DAY),
    "stuck_inside": Share(0.004, DAY),
    "payment_failed": Share(0.004, DAY),
    "payment_retried": Share(0.010, DAY),
    "paid_late": Share(0.005, DAY),
    "charged_twice": Share(0.003, DAY),
    "rejected": Share(0.020, DAY),
    "cancelled": Share(0.012, 6 * DAY),
    "refund_lost": Share(0.003, 7 * DAY),
    "cancelled_in_a_race": Share(0.003, 12 * DAY),
    "cancelled_too_late": Share(0.003, 12 * DAY),
    "confirmation_lost": Share(0.004, 12 * DAY),
    "confirmed_early": Share(0.003, 12 * DAY),
    "never_picked": Share(0.003, 7 * DAY),
    "pick_not_recorded": Share(0.003, 12 * DAY),
    "parcel_not_packed": Share(0.003, 12 * DAY),
    "parcel_not_shipped": Share(0.004, 14 * DAY),
    "parcel_not_delivered": Share(0.004, 14 * DAY),
    "delivered_late": Share(0.005, 14 * DAY),
    "ordered_by_phone": Share(0.002, 12 * DAY),
    "unknown_step": Share(0.002, 12 * DAY),
    "test_order": Share(0.010, DAY),
}
CART: dict[str, Share] = {"left_at_till": Share(0.40, HOUR)}
LOGIN: dict[str, Share] = {
    "denied": Share(0.06, HOUR),
    "blocked": Share(0.01, HOUR),
    "login_failed": Share(0.005, HOUR),
    "check_lost_in_transit": Share(0.003, HOUR),
    "check_stuck": Share(0.003, HOUR),
    "session_never_opened": Share(0.003, HOUR),
    "login_late": Share(0.004, HOUR),
    "probe": Share(0.02, HOUR),
}
STATEMENT: dict[str, Share] = {
    "suppressed": Share(0.03, DAY),
    "composed_on_retry": Share(0.01, DAY),
    "composition_failed": Share(0.004, DAY),
    "not_composed": Share(0.004, DAY),
    "not_printed": Share(0.005, DAY),
    "not_posted": Share(0.005, DAY),
    "posted_late": Share(0.01, DAY),
    "proof": Share(0.01, DAY),
}
MOVE: dict[str, Share] = {
    "old_line_runs_on": Share(0.04, 13 * DAY),
    "old_line_lost_in_transit": Share(0.02, 13 * DAY),
    "closed_without_old_line": Share(0.02, 13 * DAY),
    "technician_came_again": Share(0.04, 13 * DAY),
    "new_line_failed": Share(0.02, 13 * DAY),
    "never_closed": Share(0.02, 15 * DAY),
    "called_off": Share(0.05, 12 * DAY),
}


def deal(random: Random, shares: Mapping[str, Share], starts: list[int], end: int) -> list[str]:
    """The story of each transaction ("" for a plain one), given when they start (µs, earliest first).

    With many transactions each story is told at least twice, with few not more often than its share: a handful of orders
    should mostly be plain.
    """
    stories = [""] * len(starts)
    # What takes longest to show has the fewest places to go.
    for name, share in sorted(shares.items(), key=lambda item: -item[1].settles):
        free = [i for i, start in enumerate(starts) if not stories[i] and start + share.settles <= end]
        wanted = share.part * len(starts)
        count = max(2, round(wanted)) if len(starts) >= ENOUGH else int(wanted + random.random())
        for i in random.sample(free, min(count, len(free))):
            stories[i] = name
    return stories
