"""Flow files: versions, digests, folders, and YAML that means harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Invalid
from schemas.flow import Flow, Flows
from schemas.flow_file import check_files, flow_files, load_flows, parse_flow
from schemas.times import parse_time
from schemas.yaml_file import parse_yaml
from tests.contract.test_flows import BASE, LANDSCAPE, MISTAKES, mistake_of

# -- versions -----------------------------------------------------------------------------------------------------------------


def test_changed_content_under_a_version_is_refused_with_both_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BASE)
    (tmp_path / "b.yaml").write_text(BASE.replace("lost_after: 1d", "lost_after: 2d"))
    (tmp_path / "c.yaml").write_text("# the same content, other words\n" + BASE.replace("within: 5m", "within: 300s"))
    found = check_files(flow_files([tmp_path]), LANDSCAPE).mistakes
    assert [(Path(one.file or "").name, one.line, one.field) for one in found] == [("b.yaml", 2, "version")]
    assert "a.yaml" in found[0].reason


def test_changed_content_under_a_published_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tea.yaml").write_text(BASE)
    published = {("tea", 1): parse_flow(BASE).digest()}
    assert load_flows([tmp_path], LANDSCAPE, published).latest("tea").version == 1
    (tmp_path / "tea.yaml").write_text(BASE.replace("start: true", "start: true, says: an order"))
    with pytest.raises(Invalid, match="other content in what was published; give the change a new version") as refused:
        load_flows([tmp_path], LANDSCAPE, published)
    assert (refused.value.line, refused.value.field) == (2, "version")


def test_versions_have_one_key_and_each_its_time(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BASE)
    (tmp_path / "b.yaml").write_text(BASE.replace("version: 1", "version: 2\nsince: 2026-01-01T00:00:00Z"))
    assert check_files(flow_files([tmp_path]), LANDSCAPE)[1:] == ((), ())
    (tmp_path / "b.yaml").write_text(BASE.replace("version: 1", "version: 2"))
    assert "never in force" in check_files(flow_files([tmp_path]), LANDSCAPE).warnings[0].reason
    (tmp_path / "b.yaml").write_text(BASE.replace("version: 1", "version: 2").replace("key: order", "key: tea"))
    assert check_files(flow_files([tmp_path]), None).mistakes[0].field == "key"


def version(number: int, since: str = "", applies_to: str = "new") -> Flow:
    text = BASE.replace(
        "version: 1", f"version: {number}\napplies_to: {applies_to}\n" + (f"since: {since}" if since else "#")
    )
    return parse_flow(text)


def test_the_version_in_force_is_that_of_the_earliest_event() -> None:
    flows = Flows([version(7, "2026-03-01T00:00:00Z"), version(3), version(5, "2026-02-01T00:00:00+01:00")])
    for time, number in (
        ("1999-01-01T00:00:00Z", 3), ("2026-01-31T22:59:59.999999Z", 3), ("2026-01-31T23:00:00Z", 5),
        ("2026-02-28T23:59:59Z", 5), ("2026-03-01T00:00:00Z", 7), ("2030-01-01T00:00:00Z", 7),
    ):  # fmt: skip
        assert flows.in_force("tea", parse_time(time)).version == number, time


def test_the_lowest_version_reaches_back_without_limit() -> None:
    assert Flows([version(2, "2026-01-01T00:00:00Z")]).in_force("tea", 0).version == 2


def test_a_version_for_open_ones_takes_over_what_has_not_ended() -> None:
    flows = Flows([version(1), version(2, "2026-02-01T00:00:00Z", "open")])
    before = parse_time("2026-01-15T00:00:00Z")
    assert flows.in_force("tea", before, ended=False).version == 2
    assert flows.in_force("tea", before, ended=True).version == 1


def test_a_digest_is_of_the_content_and_stable_for_good() -> None:
    same = BASE.replace("within: 5m", "within: 300s").replace(
        "{parcel: alias, customer: search}", "{customer: search, parcel: alias}"
    )
    assert (
        parse_flow(BASE).digest()
        == parse_flow(same).digest()
        == Flow.model_validate(parse_flow(BASE).model_dump()).digest()
    )
    assert Flow.model_validate_json(parse_flow(BASE).model_dump_json()).digest() == parse_flow(BASE).digest()
    # Written down: where this changes, every flow that anybody published is refused as changed.
    assert parse_flow(BASE).digest() == "a498d182526d32898f3030719eef68a3"


@pytest.mark.parametrize("name", [name for name, case in MISTAKES.items() if case[3] not in (None, "key", "version")])
def test_what_loads_has_another_digest_when_it_says_something_else(name: str) -> None:
    old, new = MISTAKES[name][:2]
    try:
        flow = parse_flow(BASE.replace(old, new))
    except Invalid:
        return
    assert flow.digest() != parse_flow(BASE).digest()


# -- files --------------------------------------------------------------------------------------------------------------------


def test_a_folder_may_hold_other_files_beside_flows(tmp_path: Path) -> None:
    (tmp_path / "tea.yaml").write_text(BASE)
    (tmp_path / "json.yml").write_text('{"flow": "x", "steps": {}}')
    (tmp_path / "mapping.yaml").write_text("mapping: m\nevents:\n  - step: x\n    flow: y\n")
    (tmp_path / "landscape.yaml").write_text("zone: UTC\n")
    (tmp_path / "notes.txt").write_text("flow: no\n")
    assert [path.name for path in flow_files([tmp_path])] == ["json.yml", "tea.yaml"]


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is no folder"):
        load_flows([tmp_path / "none"])


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS, "a: &a [*a]", "a: " + "[" * 50_000, "[" * 50 + "]" * 50, "x" * 300_000, "a: 1\n" * 10, "- [1]: 2", "a: *b",
        "a: !!python/name:os.system", "? [a, b]\n: c", "a: !!timestamp 2026-01-01", "--- a\n--- b", "\x00",
    ],
    ids=["billion laughs", "endless", "deep", "nested", "large", "twice", "odd key", "no anchor", "object", "set", "time",
         "two documents", "NUL"],
)  # fmt: skip
def test_hostile_yaml_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    found = mistake_of("flow: tea\n" + text, tmp_path / "tea.yaml")
    assert found
    assert all(len(one.reason) < 300 for one in found)


@given(st.binary(max_size=120))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        parse_flow(b"flow: tea\n" + content)


def test_plain_words_are_text_not_yaml_1_1_surprises() -> None:
    data = parse_yaml(
        "a: no\nb: 1:30\nc: 2026-01-01\nd: 007\ne: 0x10\nf: 12\ng: 1.5\nh: true\ni:\nj: 1e3\nk: 99999999999999999999\n"
    ).data
    assert data == {
        "a": "no", "b": "1:30", "c": "2026-01-01", "d": "007", "e": "0x10", "f": 12, "g": 1.5, "h": True, "i": None,
        "j": "1e3", "k": "99999999999999999999",
    }  # fmt: skip
