"""What repeats (``again``) and what time alone completes (``lapses``)."""

from __future__ import annotations

from schemas.landscape import Landscape
from tests.core.build import expect, flow

LOOSE = Landscape(tolerate=0.001)

# again ----------------------------------------------------------------------------------------------------------------

DRAFTS = flow("""
    steps:
      asked:    {system: a, start: true}
      drafted:  {system: b, after: {any: [asked, sent_back]}, within: 1h}
      reviewed: {system: c, after: drafted, within: 1h}
      sent_back: {system: c, after: reviewed, optional: true, again: 2}
      approved: {system: c, after: reviewed, within: 1h, end: completed}
""")


def test_a_loop() -> None:
    first = "asked@0 drafted@10m reviewed@20m"
    expect(DRAFTS, f"{first} approved@30m", "9h", "completed")
    expect(DRAFTS, first, "2h", "stalled", "stalled between reviewed>approved")
    expect(DRAFTS, f"{first} sent_back@1h", "1h50m", "in_progress")
    expect(DRAFTS, f"{first} sent_back@1h", "2h30m", "stalled", "stalled between sent_back>drafted")
    expect(DRAFTS, f"{first} sent_back@1h drafted@1h30m", "2h20m", "in_progress")
    expect(DRAFTS, f"{first} sent_back@1h drafted@1h30m", "3h", "stalled", "stalled between drafted>reviewed")
    expect(DRAFTS, f"{first} sent_back@1h drafted@1h30m reviewed@2h approved@2h30m", "9h", "completed")


def test_a_round_that_was_not_drafted_again() -> None:
    expect(DRAFTS, "asked@0 drafted@10m reviewed@20m sent_back@1h reviewed@2h approved@2h10m", "9h", "completed",
           "!skipped drafted")  # fmt: skip


def test_a_loop_has_its_measure() -> None:
    rounds = "asked@0 drafted@1m reviewed@2m"
    for n in range(1, 5):
        rounds += f" sent_back@{n}0m drafted@{n}1m reviewed@{n}2m"
    expect(DRAFTS, f"{rounds} approved@50m", "9h", "completed", "!unexpected sent_back")
    expect(DRAFTS, "asked@0 drafted@1m drafted@5m reviewed@6m approved@7m", "9h", "completed", "!duplicate drafted")


# lapses ---------------------------------------------------------------------------------------------------------------

CART = flow("""
    lost_after: 1d
    steps:
      opened:  {system: shop, start: true}
      at_till: {system: till, after: opened, optional: true}
      placed:  {system: shop, after: opened, end: completed}
      left:    {system: shop, after: opened, lapses: 30m, end: closed}
      left_at_till: {system: shop, after: at_till, lapses: 30m, end: closed}
""")


def test_an_abandoned_cart() -> None:
    expect(CART, "opened@0", "29m", "in_progress")
    expect(CART, "opened@0", "31m", "closed")
    expect(CART, "opened@0 at_till@20m", "40m", "in_progress")
    expect(CART, "opened@0 at_till@20m", "51m", "closed")
    expect(CART, "opened@0 opened@20m", "40m", "in_progress", "!duplicate opened")
    expect(CART, "opened@0 placed@20m", "2d", "completed")


def test_what_came_before_and_comes_again_begins_the_wait_anew() -> None:
    again = "opened@0 at_till@10m opened@30m"
    expect(CART, again, "45m", "in_progress", "!duplicate opened")
    expect(CART, again, "61m", "closed", "!duplicate opened")


def test_a_cart_that_comes_back_was_not_abandoned() -> None:
    expect(CART, "opened@0 placed@45m", "2d", "completed")


def test_an_end_that_came_before_its_time_came_all_the_same() -> None:
    expect(CART, "opened@0 at_till@20m placed@19m", "2d", "completed")


def test_nothing_lapses_unheard() -> None:
    expect(CART, "opened@0", "40m", "in_progress", silent={"shop": "10m"})
    dark = {"till": [("10m", "11m")]}
    expect(CART, "opened@0", "2h", "in_progress", blind=dark)
    expect(CART, "opened@0", "2d", "unknown", "unknown between opened>placed", "!unresolved placed", blind=dark)
    expect(CART, "opened@0", "2h", "in_progress", behind={"till": "20m"})


def test_what_nobody_heard_for_seconds_does_not_make_an_abandoned_cart_a_lost_order() -> None:
    blip = {"shop": [("10m", "10m30s")]}
    expect(CART, "opened@0", "12h", "in_progress", blind=blip, landscape=LOOSE)
    expect(CART, "opened@0", "1d1h", "closed", blind=blip, landscape=LOOSE)


def test_a_step_that_is_accepted_where_nobody_complains() -> None:
    of = flow("""
        steps:
          sent:     {system: a, start: true}
          noted:    {system: c, after: sent, optional: true}
          received: {system: b, after: sent, within: 1h}
          refused:  {system: b, after: received, end: closed}
          accepted: {system: b, after: received, lapses: 2d}
          paid:     {system: a, after: accepted, within: 1d, end: completed}
    """)
    expect(of, "sent@0 received@1m noted@1h", "1d", "in_progress")
    expect(of, "sent@0 received@1m noted@1h", "2d1h", "in_progress")
    expect(of, "sent@0 received@1m noted@1h", "3d1h", "stalled", "stalled between received>paid")
    expect(of, "sent@0 received@1m noted@1h paid@2d5h", "5d", "completed")
    expect(of, "sent@0 received@1m refused@1h", "5d", "closed")
