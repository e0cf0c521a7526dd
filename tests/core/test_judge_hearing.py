"""What was not heard: what is assumed beyond it, and what a verdict says of it."""

from __future__ import annotations

import msgspec

from pipeline.core.judge import judge, meets
from schemas.flow import Flow
from schemas.landscape import Landscape
from schemas.times import format_time
from schemas.verdict import Status
from tests.core.build import T0, at, drops, event, events, expect, findings, flow, heard, say, state

LOOSE = Landscape(tolerate=0.001)


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


# A step that nobody heard does not hide the order ---------------------------------------------------------------------

LINE = flow("""
    lost_after: 2d
    steps:
      a: {system: A, start: true}
      b: {system: B, after: a, within: 1h, reports: [received, completed]}
      c: {system: C, after: b, within: 1h, reports: [received, completed]}
      d: {system: D, after: c, within: 1h, end: completed}
""")


def test_beyond_a_blackout() -> None:
    dark = {"B": [("10m", "30m")]}
    expect(LINE, "a@0", "1h5m", "unknown", "unknown in_transit a>b", blind=dark)
    expect(LINE, "a@0", "1h25m", "unknown", "unknown in_transit a>b", blind=dark)
    expect(LINE, "a@0", "1h35m", "stalled", "stalled between a>c", "unknown in_transit a>b", blind=dark)
    expect(LINE, "a@0", "3d", "lost", "lost between a>c", "unknown in_transit a>b", "!unresolved b", blind=dark)


def test_beyond_a_blackout_something_was_seen() -> None:
    dark = {"B": [("10m", "30m")]}
    expect(LINE, "a@0 c.received@31m", "1h25m", "in_progress", "!unobserved b", blind=dark)
    expect(LINE, "a@0 c.received@31m", "3h", "stalled", "stalled inside a>c", "!unobserved b", blind=dark)
    expect(LINE, "a@0 b.received@5m", "1h35m", "stalled", "stalled between b>c", "unknown inside a>b", blind=dark)


def test_beyond_two_blackouts_at_once_nothing_is_proven_that_may_have_gone_unheard() -> None:
    dark = {"B": [("10m", "30m")], "C": [("10m", "20m")]}
    expect(LINE, "a@0", "1h25m", "unknown", "unknown in_transit a>b", blind=dark)
    expect(LINE, "a@0", "1h35m", "stalled", "stalled between a>d", "unknown in_transit a>b", blind=dark)


def test_while_nobody_listens_nothing_is_assumed() -> None:
    expect(LINE, "a@0", "9h", "unknown", "unknown in_transit a>b", silent={"B": "10m"})


def test_a_failure_whose_retry_nobody_heard() -> None:
    dark = {"B": [("10m", "30m")]}
    of = flow(LINE_RETRY)
    expect(of, "a@0 b.failed@5m", "1h5m", "unknown", "unknown failed a>b", blind=dark)
    expect(of, "a@0 b.failed@5m", "1h35m", "stalled", "stalled between b>c", "unknown failed a>b", blind=dark)


LINE_RETRY = """
steps:
  a: {system: A, start: true}
  b: {system: B, after: a, within: 1h, retry_within: 30m, reports: [received, completed, failed]}
  c: {system: C, after: b, within: 1h, end: completed}
"""


def test_a_parcel_that_nobody_saw_packed_is_missed_further_on() -> None:
    dark = {"b": [("10m", "20m")]}
    expect(
        TWO,
        "placed@0 packed[P1]@1m shipped[P1]@2m",
        "1h10m",
        "unknown",
        "unknown between placed>packed 1/2",
        blind=dark,
    )
    expect(TWO, "placed@0 packed[P1]@1m shipped[P1]@2m", "1h25m", "stalled", "stalled between placed>shipped 1/2",
           "unknown between placed>packed 1/2", blind=dark)  # fmt: skip


def test_an_end_that_nobody_could_have_heard_may_have_lifted_it() -> None:
    of = flow("""
        steps:
          placed:   {system: a, start: true}
          paid:     {system: b, after: placed, within: 1h}
          sent:     {system: c, after: paid, within: 1h, end: completed}
          rejected: {system: b, after: placed, end: closed}
    """)
    expect(of, "placed@0 paid@10m", "3h", "stalled", "stalled between paid>sent")
    expect(of, "placed@0 paid@10m", "3h", "unknown", "unknown between paid>sent", blind={"b": [("20m", "30m")]})
    expect(of, "placed@0 paid@10m", "3h", "stalled", "stalled between paid>sent", blind={"b": [("1h20m", "2h")]})
    expect(of, "placed@0 paid@10m", "3h", "in_progress", behind={"b": "1h"})


# Hearing --------------------------------------------------------------------------------------------------------------


def test_a_share_is_tolerated_and_stated() -> None:
    blip = {"B": [("10m", "10m3s")]}
    verdict = say(LINE, "a@0", "2h", blind=blip, landscape=LOOSE)
    assert drops(verdict) == ["stalled in_transit a>b"]
    witness = {witness.system: witness for witness in verdict.completeness}["B"]
    assert 0 < witness.share < 0.001
    assert witness.blind == ((at("10m"), at("10m3s")),)
    assert say(LINE, "a@0", "1h5m", blind=blip).status is Status.UNKNOWN
    assert say(LINE, "a@0", "1h5m", blind=blip, landscape=LOOSE).status is Status.STALLED


def test_nobody_ever_spoke_for_it() -> None:
    verdict = say(LINE, "a@0", "2h", unvouched=["B"])
    assert drops(verdict) == ["stalled in_transit a>b"]
    assert [witness.system for witness in verdict.completeness if witness.unvouched] == ["B"]
    assumed = Landscape(tolerate=0, systems={"B": {"assume": "silent"}})
    verdict = say(LINE, "a@0", "2h", unvouched=["B"], landscape=assumed)
    assert drops(verdict) == ["unknown in_transit a>b"]
    assert verdict.drops[0].silent == ("B",)


def test_a_drop_names_whose_silence_leaves_it_unknown() -> None:
    verdict = say(LINE, "a@0", "2h", silent={"B": "10m"})
    assert verdict.drops[0].silent == ("B",)
    assert verdict.drops[0].since == T0
    assert verdict.drops[0].due == at("1h")


def test_systems_that_were_renamed() -> None:
    old = [event(LINE, "a@0", 1), event(LINE, "b@10m", 2, system="B-old")]
    renamed = heard(LINE, "30m", renamed={"B-old": "B"})
    assert judge(state(LINE, old), LINE, renamed).findings == ()
    assert findings(judge(state(LINE, old), LINE, heard(LINE, "30m"))) == {"unexpected b"}


def test_whom_a_flow_judges() -> None:
    strange = state(LINE, [event(LINE, "b@10m", 1, system="Z")])
    assert not meets(strange, LINE, heard(LINE, "1h"))
    assert judge(strange, LINE, heard(LINE, "1h")).status is Status.IN_PROGRESS
    assert meets(state(LINE, [event(LINE, "b.failed@10m", 1)]), LINE, heard(LINE, "1h"))


def test_another_flows_event_is_not_unexpected() -> None:
    seen = [event(LINE, "a@0", 1), event(LINE, "opened@0", 2, system="shop")]
    seen[1].keys["cart"] = "K1"
    knows = heard(LINE, "10m")
    both = {**knows.known_steps, "cart": frozenset({("opened", "shop")})}
    assert findings(judge(state(LINE, seen), LINE, knows)) == {"unexpected opened"}
    knows = heard(LINE, "10m", known_steps=both)
    assert findings(judge(state(LINE, seen), LINE, knows)) == set()


def test_what_was_due_before_it_was_owed_is_not_proven_by_hearing_nothing() -> None:
    of = flow("""
        lost_after: 2d
        steps:
          placed:  {system: a, start: true}
          packed:  {system: a, after: placed}
          shipped: {system: b, after: packed, due: promised, end: completed}
    """)
    over = {"placed": {"promised": format_time(at("1h"))}}
    expect(of, "placed@0 packed@5h", "6h", "stalled", "stalled between packed>shipped", attributes=over)
    expect(
        of,
        "placed@0 packed@5h",
        "6h",
        "unknown",
        "unknown between packed>shipped",
        attributes=over,
        blind={"b": [("4h", "6h")]},
    )
    expect(of, "placed@0 packed@5h", "6h", "in_progress", attributes=over, behind={"b": "5h"})


def test_what_a_deaf_carrier_of_links_may_have_parked_is_not_assumed_to_be_done_by_any_time() -> None:
    of = flow("""
        keys: {parcel: {alias: shared}}
        steps:
          placed:  {system: a, start: true}
          packed:  {system: b, after: placed, within: 1h, by: [order, parcel]}
          shipped: {system: c, after: packed, within: 1h, by: [parcel]}
          billed:  {system: d, after: shipped, within: 1h, end: completed}
    """)
    both = {"c": [("20m", "30m")], "b": [("20m", "30m")]}
    expect(of, "placed@0 packed@10m", "9h", "unknown", "unknown between packed>shipped", blind=both)
    expect(of, "placed@0 packed@10m", "9h", "stalled", "stalled between packed>billed", "unknown between packed>shipped",
           blind={"c": both["c"]})  # fmt: skip


def test_nothing_is_proven_while_what_is_kept_under_a_new_name_may_be_on_its_way() -> None:
    """An order gets another name after its payment was due: the payment lies under that name, or one that leads on from it. The
    simulation found it: a link that was read before its sender's clock had come there, and was followed by others."""
    of = flow("""
        keys: {payment: alias}
        steps:
          placed:   {system: shop, start: true}
          labelled: {system: warehouse, after: placed, optional: true, by: [order, payment]}
          paid:     {system: payments, after: placed, within: 15m, by: [payment], end: completed}
    """)
    named = [msgspec.structs.replace(one, keys={**one.keys, "payment": "p"}) for one in events(of, "labelled@20m")]
    seen = state(of, [event(of, "placed@0", 2), *named])
    early = judge(seen, of, heard(of, "30m", behind={"warehouse": "18m"}))
    assert early.status is Status.IN_PROGRESS
    assert ("warehouse", at("20m")) in early.waits
    assert judge(seen, of, heard(of, "30m", behind={"warehouse": "20m1s"})).status is Status.STALLED
    assert judge(seen, of, heard(of, "30m", silent={"warehouse": "18m"})).status is Status.STALLED, (
        "nobody waits for ever"
    )


def test_a_system_that_carries_links_itself_is_asked_as_their_carrier_too() -> None:
    """What payments says of a payment may lie unlinked because what it said of the payment's order, earlier, went unheard. Found by
    the simulation: the link was lost with a process just before the order was placed."""
    of = flow("""
        keys: {payment: alias}
        steps:
          placed:  {system: shop, start: true}
          matched: {system: payments, after: placed, optional: true, by: [order, payment]}
          paid:    {system: payments, after: placed, within: 15m, by: [payment], end: completed}
    """)
    expect(of, "placed@0", "30m", "stalled", "stalled between placed>paid")
    expect(of, "placed@0", "30m", "unknown", "unknown between placed>paid", blind={"payments": [("-10m", "-5m")]})


def test_of_alternatives_the_one_that_was_seen_counts() -> None:
    of = flow("""
        steps:
          asked: {system: a, start: true}
          mail:  {system: b, after: asked, within: 10m}
          phone: {system: c, after: asked, within: 1h}
          heard: {system: d, after: {any: [mail, phone]}, within: 1h, end: completed}
    """)
    expect(of, "asked@0 phone@50m", "1h45m", "unknown", "unknown between asked>mail", blind={"b": [("1m", "2m")]})
    expect(of, "asked@0 phone@50m", "1h55m", "stalled", "stalled between phone>heard", "unknown between asked>mail",
           blind={"b": [("1m", "2m")]})  # fmt: skip
