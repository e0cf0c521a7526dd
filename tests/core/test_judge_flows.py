"""The flow language of DESIGN.md §6, word by word, on flows of a few steps."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.calendar import WorkingTime
from pipeline.core.judge import judge
from schemas.flow import Flow
from schemas.landscape import Calendar, Landscape
from schemas.times import format_time
from schemas.verdict import Status
from tests.core.build import T0, at, drops, event, expect, flow, heard, state

# after, several starts ------------------------------------------------------------------------------------------------

MERGE = flow("""
    steps:
      asked: {system: a, start: true}
      left:  {system: b, after: asked, within: 1h}
      right: {system: c, after: asked, within: 2h}
      both:  {system: d, after: [left, right], within: 1h, end: completed}
""")


def test_after_a_list_is_after_all_of_them() -> None:
    expect(MERGE, "asked@0 left@10m", "3h", "stalled", "stalled between asked>right")
    expect(MERGE, "asked@0 left@10m right@1h50m", "2h30m", "in_progress")
    expect(MERGE, "asked@0 left@10m right@1h50m", "3h", "stalled", "stalled between right>both")
    expect(MERGE, "asked@0 right@1h50m both@2h", "4h", "completed", "!skipped left")


EITHER = flow("""
    steps:
      asked: {system: a, start: true}
      mail:  {system: b, after: asked, within: 1h, when: {by: mail}}
      phone: {system: c, after: asked, within: 1h, when: {by: phone}}
      heard: {system: d, after: {any: [mail, phone]}, within: 1h, end: completed}
""")


def test_after_any_is_after_the_first_of_them() -> None:
    by_mail = {"asked": {"by": "mail"}}
    expect(EITHER, "asked@0 mail@30m phone@2h heard@1h", "5h", "completed", attributes=by_mail)
    expect(EITHER, "asked@0 mail@30m", "2h", "stalled", "stalled between mail>heard", attributes=by_mail)
    expect(EITHER, "asked@0", "2h", "stalled", "stalled between asked>mail", attributes=by_mail)


def test_an_alternative_that_was_not_taken_is_neither_owed_nor_skipped() -> None:
    both = {"asked": {"by": "mail"}, "mail": {"by": "phone"}}
    expect(EITHER, "asked@0 mail@30m heard@1h", "5h", "completed", attributes=both)
    undecided = flow("""
        steps:
          asked: {system: a, start: true}
          mail:  {system: b, after: asked, within: 1h}
          phone: {system: c, after: asked, within: 1h}
          heard: {system: d, after: {any: [mail, phone]}, within: 1h, end: completed}
    """)
    expect(undecided, "asked@0 phone@10m heard@20m", "5h", "completed")
    expect(undecided, "asked@0 heard@20m", "5h", "completed", "!skipped mail")
    expect(undecided, "asked@0 heard@20m", "5h", "completed", "!unobserved mail", blind={"c": [("1m", "10m")]})


STARTS = flow("""
    steps:
      web:   {system: a, start: true}
      phone: {system: b, start: true}
      taken: {system: c, after: {any: [web, phone]}, within: 1h}
      done:  {system: d, after: taken, within: 1h, end: completed}
""")


def test_of_several_starts_one_is_enough() -> None:
    expect(STARTS, "phone@0 taken@1m done@2m", "5h", "completed")
    expect(STARTS, "web@0", "2h", "stalled", "stalled between web>taken")
    expect(STARTS, "taken@1m done@2m", "5h", "completed", "!no_start web")
    expect(STARTS, "taken@1m done@2m", "5h", "completed", "!unobserved web", blind={"b": [("-10m", "30s")]})


def test_starts_that_are_both_needed() -> None:
    two = flow("""
        steps:
          given: {system: a, start: true}
          asked: {system: b, start: true}
          done:  {system: c, after: [given, asked], within: 1h, end: completed}
    """)
    expect(two, "given@0", "5h", "in_progress")
    expect(two, "given@0 asked@10m", "3h", "stalled", "stalled between asked>done")
    expect(two, "given@0 done@30m", "3h", "completed", "!no_start asked")


def test_a_start_that_arrived_and_was_never_done() -> None:
    slow = flow("""
        lost_after: 1d
        steps:
          scanned: {system: a, start: true, reports: [received, completed]}
          done:    {system: b, after: scanned, within: 1h, end: completed}
    """)
    expect(slow, "scanned.received@0", "5h", "in_progress")
    expect(slow, "scanned.received@0", "1d1h", "lost", "lost inside >scanned")
    expect(slow, "scanned.received@0 done@1h", "1d1h", "completed", "!skipped scanned")
    expect(slow, "done@1h", "1d1h", "completed", "!no_start scanned")


def test_where_nothing_is_known_of_the_beginning_it_is_not_called_missing() -> None:
    """An order that was on its way when its shop's first source said hello."""
    expect(STARTS, "done@2m", "5h", "completed", "!unobserved web", "!unobserved taken",
           blind={"a": [("-1d", "-1h")], "c": [("-1d", "1m")]})  # fmt: skip


def test_what_comes_after_an_end_and_something_else_waits_for_the_end() -> None:
    of = flow("""
        steps:
          placed:    {system: a, start: true}
          paid:      {system: b, after: placed, within: 1h}
          sent:      {system: c, after: paid, within: 1d, end: completed}
          cancelled: {system: a, after: placed, end: closed}
          refunded:  {system: b, after: [paid, cancelled], within: 1h}
    """)
    expect(of, "placed@0 paid@1m", "5h", "in_progress")
    expect(of, "placed@0 paid@1m cancelled@1h", "5h", "stalled", "stalled between cancelled>refunded")
    expect(of, "placed@0 paid@1m refunded@1h", "5h", "closed", "!skipped cancelled")


# due, within, calendars, lost_after ------------------------------------------------------------------------------------

PROMISE = flow("""
    lost_after: 2d
    steps:
      placed:  {system: a, start: true}
      shipped: {system: b, after: placed, due: promised, end: completed}
""")


@pytest.mark.parametrize(
    "hostile", ["soon", "", -1, 3.5, True, 2**53 - 1, "9999-12-31T00:00:00Z", "2026-10-05T09:00:00"]
)
def test_a_due_time_that_cannot_be_read_is_none(hostile: Any) -> None:
    expect(PROMISE, "placed@0", "1d", "in_progress", attributes={"placed": {"promised": hostile}})
    expect(
        PROMISE, "placed@0", "2d1h", "lost", "lost between placed>shipped", attributes={"placed": {"promised": hostile}}
    )


def test_due_is_read_from_the_event_before_else_from_the_latest_that_has_it() -> None:
    sooner, later = format_time(at("1h")), format_time(at("5h"))
    noted = [event(PROMISE, "noted@10m", 2, promised=later), event(PROMISE, "noted@5m", 3, promised=sooner)]
    seen = [event(PROMISE, "placed@0", 1), *noted]
    verdict = judge(state(PROMISE, seen), PROMISE, heard(PROMISE, "3h"))
    assert verdict.status is Status.IN_PROGRESS
    seen[0] = event(PROMISE, "placed@0", 1, promised=sooner)
    verdict = judge(state(PROMISE, seen), PROMISE, heard(PROMISE, "3h"))
    assert drops(verdict) == ["stalled between placed>shipped"]
    assert verdict.drops[0].due == at("1h")


def test_nothing_is_lost_before_it_is_due() -> None:
    promise = {"placed": {"promised": format_time(at("30d"))}}
    expect(PROMISE, "placed@0", "29d", "in_progress", attributes=promise)
    expect(PROMISE, "placed@0", "31d", "lost", "lost between placed>shipped", attributes=promise)


def test_working_time() -> None:
    office = Landscape(tolerate=0, calendars={"office": Calendar(hours="08:00-17:00")})
    of = flow("""
        steps:
          placed: {system: a, start: true}
          called: {system: b, after: placed, within: 18h, calendar: office, end: completed}
    """)
    monday_noon = "placed@4h"
    expect(of, monday_noon, "2d3h", "in_progress", landscape=office)
    expect(of, monday_noon, "2d4h1m", "stalled", "stalled between placed>called", landscape=office)
    expect(of, f"{monday_noon} called@2d3h", "3d", "completed", landscape=office)
    expect(of, f"{monday_noon} called@2d5h", "3d", "completed", "!late called", landscape=office)
    expect(of, monday_noon, "23h", "stalled", "stalled between placed>called")


def test_a_calendar_that_never_opens_does_not_hold_anybody_up() -> None:
    never = WorkingTime(Calendar(days=()))
    assert never.add(T0, 5) == T0 + 5


# optional, when, must -------------------------------------------------------------------------------------------------

CHECKED = flow("""
    lost_after: 1d
    steps:
      placed:  {system: a, start: true}
      checked: {system: b, after: placed, optional: true, reports: [received, completed, failed]}
      paid:    {system: c, after: placed, within: 1h, must: true}
      sent:    {system: d, after: [checked, paid], within: 1h}
      signed:  {system: e, after: sent, within: 1h, when: {insured: [true, "maybe"]}, end: completed}
      closed:  {system: f, after: [sent, signed], within: 1h, end: completed}
""")


def test_optional_is_not_owed_and_holds_nobody_up() -> None:
    expect(CHECKED, "placed@0 paid@10m", "2h", "stalled", "stalled between paid>sent")
    expect(CHECKED, "placed@0 paid@10m checked.failed@11m", "2h", "stalled", "stalled between paid>sent")


def test_what_waits_for_an_optional_step_under_way_is_not_late_but_may_be_lost() -> None:
    expect(CHECKED, "placed@0 paid@10m checked.received@20m", "5h", "in_progress")
    expect(CHECKED, "placed@0 paid@10m checked.received@20m", "1d1h", "lost", "lost between paid>sent")


def test_when() -> None:
    insured = {"placed": {"insured": True}}
    expect(CHECKED, "placed@0 paid@10m sent@20m", "2h", "stalled", "stalled between sent>closed")
    expect(CHECKED, "placed@0 paid@10m sent@20m", "2h", "stalled", "stalled between sent>signed", attributes=insured)
    expect(CHECKED, "placed@0 paid@10m sent@20m closed@30m", "2h", "completed")
    expect(CHECKED, "placed@0 paid@10m sent@20m closed@30m", "2h", "completed", "!skipped signed", attributes=insured)
    expect(
        CHECKED, "placed@0 paid@10m sent@20m closed@30m", "2h", "completed", attributes={"placed": {"insured": "no"}}
    )


def test_must_forbids_skipping() -> None:
    expect(CHECKED, "placed@0 sent@20m closed@30m", "50m", "in_progress")
    expect(CHECKED, "placed@0 sent@20m closed@30m", "2h", "stalled", "stalled between placed>paid")
    expect(
        CHECKED,
        "placed@0 sent@20m closed@30m",
        "2h",
        "unknown",
        "unknown between placed>paid",
        blind={"c": [("1m", "2m")]},
    )


# counts ---------------------------------------------------------------------------------------------------------------


def parcels(count: str) -> Flow:
    return flow(f"""
        keys: {{parcel: {{alias: shared}}, line: search}}
        steps:
          placed:  {{system: a, start: true}}
          line:    {{system: a, after: placed, per: line, optional: true}}
          packed:  {{system: b, after: placed, within: 1h, per: parcel, count: {count}}}
          shipped: {{system: c, after: packed, within: 1h, per: parcel}}
          closed:  {{system: d, after: shipped, within: 1h, end: completed}}
    """)


TWO = parcels("2")


def test_a_count_by_number() -> None:
    expect(TWO, "placed@0 packed[P1]@1m shipped[P1]@2m", "2h", "stalled", "stalled between placed>packed 1/2")
    expect(
        TWO,
        "placed@0 packed[P1]@1m shipped[P1]@2m packed[P2]@3m",
        "2h",
        "stalled",
        "stalled between packed>shipped[P2]",
    )
    expect(TWO, "placed@0 packed[P1]@1m packed[P2]@2m packed[P3]@3m", "5m", "in_progress", "!unexpected packed")


def test_what_comes_after_all_parcels_waits_for_all_that_were_counted() -> None:
    one = "placed@0 packed[P1]@1m shipped[P1]@2m"
    expect(TWO, one, "59m", "in_progress")
    expect(TWO, f"{one} packed[P2]@3m shipped[P2]@40m", "1h20m", "in_progress")
    expect(TWO, f"{one} packed[P2]@3m shipped[P2]@40m", "2h", "stalled", "stalled between shipped>closed")
    expect(TWO, f"{one} packed[P2]@3m closed@40m", "3h", "completed", "!skipped shipped[P2]")


def test_a_count_by_announcement() -> None:
    lines = parcels("{announced_by: line}")
    expect(lines, "placed@0 line[A]@0 line[B]@0 packed[P1]@1m shipped[P1]@1m", "2h", "stalled",
           "stalled between placed>packed 1/2")  # fmt: skip
    expect(lines, "placed@0 packed[P1]@1m shipped[P1]@1m closed@2m", "2h", "completed")


@pytest.mark.parametrize("count", ["-1", -1, "3.5", 2**53 - 1, "1e9", "", True, "x" * 4096, "9" * 4096])
def test_a_count_that_cannot_be_read_asks_for_no_more_than_one(count: Any) -> None:
    of = parcels("parcels")
    expect(
        of, "placed@0", "2h", "stalled", "stalled between placed>packed 1/1", attributes={"placed": {"parcels": count}}
    )
    expect(
        of,
        "placed@0 packed[P1]@1m shipped[P1]@2m closed@3m",
        "2h",
        "completed",
        attributes={"placed": {"parcels": count}},
    )


def test_a_count_of_none() -> None:
    expect(parcels("parcels"), "placed@0", "2h", "in_progress", attributes={"placed": {"parcels": 0}})


def test_a_parcel_known_from_further_on_was_passed() -> None:
    expect(
        TWO, "placed@0 packed[P1]@1m shipped[P1]@2m shipped[P2]@3m closed@4m", "2h", "completed", "!skipped packed[P2]"
    )
    expect(TWO, "placed@0 packed[P1]@1m packed@1m shipped[P1]@2m shipped[P2]@3m closed@4m", "2h", "completed")


def test_parcels_without_names_are_followed_by_number() -> None:
    expect(TWO, "placed@0 packed@1m packed@10m", "2h", "stalled", "stalled between packed>shipped 2/2")
    expect(TWO, "placed@0 packed@1m packed@10m shipped@20m", "2h", "stalled", "stalled between packed>shipped 1/2")
    expect(
        TWO, "placed@0 packed@1m packed@10m shipped@20m shipped@30m", "3h", "stalled", "stalled between shipped>closed"
    )


def test_a_parcel_that_was_sent_back_lifts_what_is_owed_for_it_alone() -> None:
    of = flow("""
        keys: {parcel: {alias: shared}}
        steps:
          packed:    {system: a, start: true, per: parcel}
          shipped:   {system: b, after: packed, within: 1h, per: parcel}
          delivered: {system: b, after: shipped, within: 1h, per: parcel, end: completed}
          returned:  {system: b, after: shipped, per: parcel, end: closed}
    """)
    expect(of, "packed[P1]@0 shipped[P1]@1m returned[P1]@2m", "5h", "closed")
    billed = flow("""
        keys: {parcel: {alias: shared}}
        steps:
          packed:    {system: a, start: true, per: parcel}
          delivered: {system: b, after: packed, within: 1h, per: parcel}
          returned:  {system: b, after: packed, per: parcel, end: closed}
          billed:    {system: c, after: delivered, within: 1h, end: completed}
    """)
    back = "packed[P1]@0 returned[P1]@2m packed[P2]@0 delivered[P2]@1m"
    expect(billed, back, "5h", "stalled", "stalled between delivered>billed")
    expect(billed, f"{back} billed@2m", "5h", "completed")
    expect(
        of,
        "packed[P1]@0 shipped[P1]@1m returned[P1]@2m packed[P2]@0",
        "5h",
        "stalled",
        "stalled between packed>shipped[P2]",
    )
    expect(
        of,
        "packed[P1]@0 shipped[P1]@1m returned[P1]@2m packed[P2]@0 shipped[P2]@1m delivered[P2]@2m",
        "5h",
        "completed",
    )
