"""Flow files: what ships loads and is coherent, and every mistake is named with file, line, field and reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.errors import Invalid
from schemas.event import Phase
from schemas.flow import Flows, Role
from schemas.flow_file import SHIPPED_FLOWS, check_files, flow_files, load_flows, parse_flow
from schemas.landscape import Landscape
from schemas.landscape_file import load_landscape
from schemas.times import DAY, MINUTE, SECOND

# DESIGN.md §6, as it stands there.
DESIGN_ORDER = """\
flow: order
version: 3
key: order
by: [order]                         # the steps' events name the order itself, unless a step says otherwise
keys: {payment: alias, parcel: {alias: shared}, batch: {alias: shared}, trace: {alias: weak}, customer: search, cart: {once: 10m}}
value: amount                       # the attribute that holds the money
exclude: {test: "true"}             # test orders: counted, never judged
lost_after: 14d
steps:
  placed:    {system: shop, start: true}
  paid:      {system: payments, after: placed, within: 15m, retry_within: 10m, reports: [received, completed, failed]}
  confirmed: {system: mailer, after: paid, within: 30m}               # a parallel branch
  picked:    {system: warehouse, after: paid, within: 2d, calendar: warehouse}
  packed:    {system: warehouse, after: picked, within: 1d, per: parcel, count: parcels, by: [order, parcel]}
  shipped:   {system: carrier, after: packed, per: parcel, due: promised_at, by: [parcel]}
  delivered: {system: carrier, after: shipped, per: parcel, within: 5d, by: [parcel], end: completed}
  reviewed:  {system: fraud, after: placed, optional: true, again: 3}  # may repeat
  rejected:  {system: payments, after: placed, end: closed}
  cancelled: {system: shop, after: placed, end: closed, until: picked} # no return past picked
  refunded:  {system: payments, after: cancelled, when: paid, within: 5d}
"""

BASE = """\
flow: tea
version: 1
key: order
keys: {parcel: alias, customer: search}
lost_after: 1d
steps:
  ordered: {system: shop, start: true}
  brewed: {system: kitchen, after: ordered, within: 5m}
  served: {system: waiter, after: brewed, within: 5m, end: completed}
"""

LANDSCAPE = Landscape.model_validate(
    {
        "keys": {"order": {"transaction": True}, "parcel": {}, "customer": {}},
        "systems": {"shop": {}, "kitchen": {}, "waiter": {}},
        "calendars": {"kitchen": {"hours": "06:00-22:00"}},
    }
)


def shipped() -> Flows:
    return load_flows([SHIPPED_FLOWS])


# -- what ships -----------------------------------------------------------------------------------------------------------


def test_flows_that_ship_have_neither_mistakes_nor_warnings() -> None:
    checked = check_files(flow_files([SHIPPED_FLOWS]), load_landscape([SHIPPED_FLOWS]))
    assert (checked.mistakes, checked.warnings) == ((), ())
    assert {flow.flow for flow, _ in checked.flows} == {"order", "login", "statement", "service-move", "checkout"}


def test_the_order_of_the_design_loads_as_it_stands_and_is_the_one_that_ships() -> None:
    design = parse_flow(DESIGN_ORDER, landscape=load_landscape([SHIPPED_FLOWS]))
    ours = shipped().latest("order")
    bare = {name: step.model_dump(exclude={"says"}) for name, step in ours.steps.items()}
    # But for one word: who has paid cannot be refused any more, so a loss is found though payments went dark later.
    assert bare["rejected"].pop("until") == "paid"
    theirs = {name: step.model_dump(exclude={"says"}) for name, step in design.steps.items()}
    assert theirs["rejected"].pop("until") is None
    assert theirs == bare
    assert ours.model_dump(exclude={"says", "steps"}) == design.model_dump(exclude={"says", "steps"})


def test_every_step_that_ships_has_words_for_people() -> None:
    for flow in shipped().all():
        assert flow.says.name
        for name, step in flow.steps.items():
            assert step.says.name, (flow.flow, name)
            assert step.says.done, (flow.flow, name)
            assert not step.owed or step.says.missing, (flow.flow, name)
            assert step.start or not step.owed or step.says.advice, (flow.flow, name)
            for text in (step.says.missing, step.says.done):
                assert not re.search(r"_|\b(event|phase|obligation|alias|timeout)\b", text), (flow.flow, name, text)


def test_every_file_that_ships_is_commented() -> None:
    for path in flow_files([SHIPPED_FLOWS]):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# ")
        assert sum("#" in line for line in lines) >= 10, path


def test_the_language_means_what_the_design_says() -> None:
    order = shipped().latest("order")
    paid, packed = order.steps["paid"], order.steps["packed"]
    assert (paid.within, paid.retry_within, order.lost_after) == (15 * MINUTE, 10 * MINUTE, 14 * DAY)
    assert order.same_within == 5 * SECOND
    assert paid.satisfied_by is Phase.COMPLETED
    assert paid.reports_arrival
    assert not order.steps["shipped"].reports_arrival
    assert packed.count is not None
    assert packed.count.attribute == "parcels"
    assert (order.keys["parcel"].role, order.keys["trace"].role) == (Role.SHARED, Role.WEAK)
    assert order.keys["cart"].once == 10 * MINUTE
    assert not order.steps["reviewed"].owed
    assert not order.steps["cancelled"].owed
    assert order.steps["refunded"].when is not None
    assert order.steps["refunded"].when.seen == "paid"


def test_a_cart_and_its_order_share_the_event_that_ends_the_one_and_begins_the_other() -> None:
    flows = shipped()
    cart, order = flows.latest("checkout"), flows.latest("order")
    shared = {(name, step.system) for name, step in cart.steps.items()} & {
        (name, step.system) for name, step in order.steps.items()
    }
    assert shared == {("placed", "shop")}
    assert cart.steps["placed"].end == "completed"
    assert order.steps["placed"].start
    lapses = [step for step in cart.steps.values() if step.lapses]
    assert all(step.lapses == 30 * MINUTE and step.end == "closed" for step in lapses)
    assert all(step.within is None and step.due is None for step in cart.steps.values()), (
        "an abandoned cart would be stalled"
    )


# -- mistakes ---------------------------------------------------------------------------------------------------------------

# (what is replaced, by what, line, field, reason)
MISTAKES = {
    "unknown step in after": ("after: brewed", "after: brewd", 9, "steps.served.after", "unknown step 'brewd'"),
    "unknown step, one of several": ("after: brewed", "after: [brewed, poured]", 9, "steps.served.after", "unknown step 'poured'"),
    "unknown step in any": ("after: brewed", "after: {any: [brewed, poured]}", 9, "steps.served.after", "unknown step 'poured'"),
    "unknown step in until": (
        "end: completed}", "end: completed}\n  x: {system: shop, after: ordered, end: closed, until: poured}",
        10, "steps.x.until", "unknown step 'poured'",
    ),
    "unknown step in when": ("within: 5m, end", "when: poured, within: 5m, end", 9, "steps.served.when", "unknown step 'poured'"),
    "unknown step in announced_by": (
        "within: 5m, end", "per: parcel, count: {announced_by: poured}, end", 9, "steps.served.count", "unknown step 'poured'",
    ),
    "undeclared cycle": (
        "after: ordered, within", "after: {any: [ordered, served]}, within", 8, "steps.brewed.after",
        "undeclared cycle brewed → served → brewed; say again: N at the step that closes it",
    ),
    "after itself": ("after: brewed", "after: {any: [brewed, served]}", 9, "steps.served.after", "comes after itself"),
    "cannot be reached": (
        "end: completed}", "end: completed}\n  x: {system: shop, after: x, again: 2}", 10, "steps.x.after",
        "cannot be reached from a start",
    ),
    "no start": ("start: true", "after: served, again: 2", 6, "steps", "no step is a start"),
    "no end": (", end: completed", "", 6, "steps", "no step is an end"),
    "bad duration": ("within: 5m}", "within: 5 minuts}", 8, "steps.brewed.within", "bad duration '5 minuts'"),
    "duration without unit": ("within: 5m}", "within: 5}", 8, "steps.brewed.within", "write the unit"),
    "negative duration": ("within: 5m}", "within: -5m}", 8, "steps.brewed.within", "bad duration"),
    "alias without a role in by": ("key: order", "key: order\nby: [order, payment]", 4, "by", "'payment' is a key without a role"),
    "alias without a role in a step's by": (
        "within: 5m, end", "by: [order, payment], within: 5m, end", 9, "steps.served.by", "'payment' is a key without a role",
    ),
    "alias without a role in per": (
        "within: 5m, end", "per: line, within: 5m, end", 9, "steps.served.per", "'line' is a key without a role",
    ),
    "key with an unknown role": ("parcel: alias", "parcel: other", 4, "keys.parcel", "a key needs a role"),
    "key with no role": ("parcel: alias", "parcel:", 4, "keys.parcel", "a key needs a role"),
    "by that leads nowhere": (
        "within: 5m, end", "by: [customer], within: 5m, end", 9, "steps.served.by", "names no key that leads to the order",
    ),
    "the flow's own key with a role": ("{parcel: alias", "{order: alias, parcel: alias", 4, "keys.order", "own key"),
    "until on what is no cancellation": ("within: 5m, end", "until: ordered, end", 9, "steps.served.until", "for a cancellation"),
    "must on an optional step": ("within: 5m}", "optional: true, must: true}", 8, "steps.brewed.must", "must contradicts optional"),
    "must on another end": ("within: 5m}", "must: true, end: closed}", 8, "steps.brewed.must", "contradicts end: closed"),
    "a start that closes": ("start: true", "start: true, end: closed", 7, "steps.ordered.end", "a start cannot be"),
    "an end of another kind": ("end: completed", "end: done", 9, "steps.served.end", "completed"),
    "lapses and within": ("within: 5m}", "within: 5m, lapses: 1h}", 8, "steps.brewed.lapses", "no start and has no within or due"),
    "within beyond lost_after": (
        "within: 5m}", "within: 25h}", 8, "steps.brewed.within", "1d 1h is longer than lost_after (1d)",
    ),
    "retry beyond lost_after": ("within: 5m}", "retry_within: 25h}", 8, "steps.brewed.retry_within", "is longer than lost_after"),
    "unknown calendar": (
        "within: 5m}", "within: 5m, calendar: kitchn}", 8, "steps.brewed.calendar", "unknown calendar 'kitchn'; there are kitchen",
    ),
    "calendar without within": ("within: 5m}", "calendar: kitchen}", 8, "steps.brewed", "calendar needs within"),
    "within and due": ("within: 5m}", "within: 5m, due: x}", 8, "steps.brewed", "within and due exclude each other"),
    "count without per": ("within: 5m}", "count: 3}", 8, "steps.brewed", "count needs per"),
    "count of nothing": ("within: 5m}", "per: parcel, count: 0}", 8, "steps.brewed.count", "greater than or equal to 1"),
    "done_by not reported": ("within: 5m}", "done_by: sent}", 8, "steps.brewed", "done_by sent is not among reports"),
    "reports nothing that satisfies": ("within: 5m}", "reports: [failed]}", 8, "steps.brewed", "no phase that satisfies"),
    "unknown phase": ("within: 5m}", "reports: [done]}", 8, "steps.brewed.reports.0", "received"),
    "neither start nor after": ("after: ordered, ", "", 8, "steps.brewed", "a step needs after"),
    "a start with after": ("start: true", "start: true, after: served", 7, "steps.ordered", "a start has no predecessor"),
    "again of nothing": ("within: 5m}", "again: 0}", 8, "steps.brewed.again", "greater than or equal to 1"),
    "key that names no transaction": ("key: order", "key: customer_no", 3, "key", "'customer_no' does not name transactions"),
    "unknown key": ("key: order", "key: pot", 3, "key", "'pot' does not name transactions"),
    "foreign word": ("within: 5m}", "wihtin: 5m}", 8, "steps.brewed.wihtin", "is no word of this language"),
    "foreign word at the top": ("version: 1", "version: 1\nverison: 2", 3, "verison", "is no word of this language"),
    "no system": ("system: kitchen, ", "", 8, "steps.brewed.system", "is missing"),
    "no flow": ("flow: tea", "# flow", 2, "flow", "is missing"),
    "version of text": ("version: 1", "version: one", 2, "version", "integer"),
    "version 0": ("version: 1", "version: 0", 2, "version", "greater than or equal to 1"),
    "naive since": ("version: 1", "version: 1\nsince: 2026-01-01", 3, "since", "has no zone"),
    "duplicate field": ("version: 1", "version: 1\nversion: 2", 3, "version", "stands here twice (first in line 2)"),
    "duplicate step": (
        "within: 5m}", "within: 5m}\n  brewed: {system: shop, start: true}", 9, "steps.brewed", "twice (first in line 8)",
    ),
    "no YAML": ("version: 1", "version: [1", 3, None, "not YAML"),
    "a tab": ("lost_after: 1d", "lost_after:\n\t1d", 6, None, "not YAML"),
    "an object": ("version: 1", "version: !!python/object/apply:os.system [ls]", 2, "version", "is not read here"),
    "a tag": ("tea", "!!binary dGVh", 1, "flow", "is not read here"),
    "a character": ("flow: tea", "flow: te\x07a", 1, None, "contains the character U+0007"),
}  # fmt: skip


def mistake_of(text: str, path: Path, landscape: Landscape | None = LANDSCAPE) -> list[Invalid]:
    path.write_text(text)
    return list(check_files([path], landscape).mistakes)


def test_what_the_mistakes_are_made_in_is_good(tmp_path: Path) -> None:
    path = tmp_path / "tea.yaml"
    assert mistake_of(BASE, path) == []
    assert check_files([path], LANDSCAPE).warnings == ()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_file_line_field_and_reason(name: str, tmp_path: Path) -> None:
    old, new, line, field, reason = MISTAKES[name]
    assert BASE.count(old) == 1
    path = tmp_path / "tea.yaml"
    found = mistake_of(BASE.replace(old, new), path)
    assert [(one.file, one.line, one.field) for one in found] == [(str(path), line, field)], [str(one) for one in found]
    assert reason in found[0].reason
    assert str(found[0]).startswith(f"{path}:{line}: ")
    with pytest.raises(Invalid) as refused:
        load_flows([tmp_path], LANDSCAPE)
    assert (refused.value.line, refused.value.field) == (line, field)


def test_all_mistakes_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BASE.replace("within: 5m}", "within: 5}").replace("after: brewed", "after: brewd"))
    (tmp_path / "b.yaml").write_text("flow: [")
    (tmp_path / "c.yaml").write_text(BASE.replace("system: waiter, ", "colour: red, ").replace("key: order", "key: ''"))
    found = check_files(flow_files([tmp_path]), LANDSCAPE).mistakes
    assert [(Path(one.file or "").name, one.line, one.field) for one in found] == [
        ("a.yaml", 8, "steps.brewed.within"),
        ("a.yaml", 9, "steps.served.after"),
        ("b.yaml", 1, None),
        ("c.yaml", 3, "key"),
        ("c.yaml", 9, "steps.served.system"),
        ("c.yaml", 9, "steps.served.colour"),
    ]
    with pytest.raises(Invalid, match=r"and 5 more: lastseen flows check"):
        load_flows([tmp_path], LANDSCAPE)


def test_two_that_wait_for_each_other_cannot_be_reached(tmp_path: Path) -> None:
    text = BASE.replace("after: brewed", "after: [brewed, paid], again: 2") + "  paid: {system: shop, after: served}\n"
    found = mistake_of(text, tmp_path / "tea.yaml")
    assert [(one.line, one.field) for one in found] == [(9, "steps.served.after"), (10, "steps.paid.after")]


def test_a_loop_is_allowed_where_the_step_that_closes_it_says_again() -> None:
    text = BASE.replace("after: ordered, within", "after: {any: [ordered, tasted]}, again: 3, within").replace(
        "after: brewed", "after: tasted"
    )
    flow = parse_flow(text + "  tasted: {system: kitchen, after: brewed}\n", landscape=LANDSCAPE)
    assert flow.steps["brewed"].again == 3


def test_a_step_may_come_after_itself_if_it_says_again() -> None:
    assert parse_flow(BASE.replace("after: brewed", "after: [brewed, served], again: 2"), landscape=LANDSCAPE)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("system: kitchen", "system: cellar", "steps.brewed.system"),
        ("parcel: alias", "parcle: alias", "keys.parcle"),
        ("within: 5m}", "within: 5m, end: closed}", "steps.brewed.end"),
    ],
)
def test_what_is_odd_is_a_warning_and_loads(old: str, new: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "tea.yaml"
    path.write_text(BASE.replace(old, new))
    checked = check_files([path], LANDSCAPE)
    assert checked.mistakes == ()
    assert [one.field for one in checked.warnings] == [field]
    assert load_flows([tmp_path], LANDSCAPE).latest("tea")


def test_a_landscape_that_lists_no_systems_knows_them_all(tmp_path: Path) -> None:
    (tmp_path / "tea.yaml").write_text(BASE)
    bare = Landscape.model_validate({"keys": LANDSCAPE.keys})
    assert check_files(flow_files([tmp_path]), bare).warnings == ()


def test_a_system_is_known_by_its_former_name(tmp_path: Path) -> None:
    (tmp_path / "tea.yaml").write_text(BASE)
    renamed = Landscape.model_validate(
        {"keys": LANDSCAPE.keys, "systems": {"shop": {}, "waiter": {}, "kitchenette": {"former_names": ["kitchen"]}}}
    )
    assert check_files(flow_files([tmp_path]), renamed).warnings == ()
