"""Fault 33: personal data in attributes, quarantine, errors and logs is gone before it leaves the machine, through every format;
what could not be read stays here, once, however often the collector is killed, and can be tried again."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import lz4.frame
import pytest

from collectors.personal import privacy_of
from collectors.withheld import Kept, Withheld
from schemas.errors import Invalid
from schemas.landscape import Attribute, KeyType, Landscape
from tests.collectors.site import Site
from tracer.errors import Unavailable
from tracer.keyring import KeyRing, hashed_by
from tracer.record import EVENTS

RING = KeyRing.read({"LASTSEEN_PII_KEY": "k1:a-secret-of-sixteen"})
LANDSCAPE = Landscape(
    keys={"order": KeyType(transaction=True), "email": KeyType(case="lower", pii="hash"), "card": KeyType(pii="remove")},
    attributes={"iban": Attribute(pii="remove")},
)  # fmt: skip
ALICE, CARD, IBAN = "Alice.O'Neil+x@Example.com", "4111 1111 1111", "DE89-3704-0044"
PLAIN = ("alice.o", "oneil", "neil+x", "neil%2bx", "4111 1111", "4111+1111", "4111%201111", "de89-3704")

COLLECTOR = """\
collector: shop-log
input: {file: {paths: ['logs/app.log']}}
format: %s
times: epoch_us
events:
  - system: shop
    step: placed
    time: at
    keys: {order: order, email: {field: user.mail, optional: true}, card: {field: pan, optional: true}}
    attributes: {iban: account, note: text}
    error: trouble
"""
GOOD = {
    "at": 1,
    "order": "1",
    "user.mail": ALICE,
    "pan": CARD,
    "account": IBAN,
    "text": f"of {ALICE}",
    "trouble": f"no {IBAN}, {ALICE}",
}
BAD_TIME = {**GOOD, "at": ALICE}
NO_ORDER = {**GOOD, "order": ""}


def _json(record: dict[str, Any]) -> str:
    nested = {
        **{name: value for name, value in record.items() if "." not in name},
        "user": {"mail": record["user.mail"]},
    }
    return json.dumps(nested) + "\n"


def _logfmt(record: dict[str, Any]) -> str:
    return " ".join(f'{name}="{value}"' for name, value in record.items()) + "\n"


def _csv(record: dict[str, Any]) -> str:
    return ";".join(f'"{value}"' for value in record.values()) + "\n"


FORMATS = {
    "json": ("json", "", _json, '{"user": {"mail": "%s", "order'),
    "logfmt": ("logfmt", "", _logfmt, 'order="1" user.mail="%s'),
    "csv": ("{csv: {delimiter: ';'}}", ";".join(GOOD) + "\n", _csv, '"1";"%s";"x"'),
    "regex": (
        f"{{regex: {{pattern: '^{';'.join(f'(?P<{name.rpartition(chr(46))[2]}>[^;]*)' for name in GOOD)}$'}}}}",
        "",
        lambda record: ";".join(map(str, record.values())) + "\n",
        "%s; and no more",
    ),
}


def site_of(folder: Path, form: str, **options: Any) -> tuple[Site, Any]:
    declared, header, write, torn = FORMATS[form]
    text = COLLECTOR % declared
    site = Site(
        folder, text.replace("user.mail", "mail") if form == "regex" else text,
        landscape=LANDSCAPE, privacy=privacy_of(LANDSCAPE, RING), **options,
    )  # fmt: skip
    records = [GOOD, BAD_TIME, NO_ORDER]
    lines = [write({**record, "at": site.clock() if record["at"] == 1 else record["at"]}) for record in records]
    body = header + "".join(lines) + torn % ALICE + "\n"
    (folder / "logs" / "app.log").write_text(body, encoding="utf-8")
    return site, body


def sent(site: Site) -> list[bytes]:
    """Whatever left the machine: keys, headers and values, unpacked."""
    found = []
    for part in (part for parts in site.broker.topics.values() for part in parts):
        for record in part.rows:
            packed = record.value.startswith(b"\x04\x22\x4d\x18")
            value = lz4.frame.decompress(record.value) if packed else record.value  # type: ignore[attr-defined]
            found += [record.key, value, *(content for _, content in record.headers)]
    return found


def run(site: Site, **options: Any) -> Any:
    one = site.begin(once=True, **options)
    for _ in range(200):
        if one.done:
            break
        one.step()
    assert one.done, one.failed
    return one


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_nothing_personal_leaves_the_machine_through_any_format(tmp_path: Path, form: str) -> None:
    site, _ = site_of(tmp_path, form)
    one = run(site, withheld=Withheld(tmp_path / "withheld"))
    everything = b"\n".join(sent(site)).decode("utf-8", "backslashreplace").casefold()
    said = "\n".join([*site.told, one.counts.first_fault]).casefold()
    for value in PLAIN:
        assert value not in everything, value
        assert value not in said, value
    assert (one.counts.read, one.counts.events, one.counts.quarantined) == (4, 1, 3)
    assert RING.hash(ALICE.lower()) in everything, "it can be looked for"
    assert "***" in everything
    site.stop()


def test_positions_and_all_else_that_a_collector_keeps_have_none_of_it_but_what_is_withheld(tmp_path: Path) -> None:
    site, _ = site_of(tmp_path, "json")
    run(site, withheld=Withheld(tmp_path / "withheld"))
    site.stop()
    holding = {
        path.parent.name for path in tmp_path.rglob("*") if path.is_file() and b"alice.o" in path.read_bytes().lower()
    }
    assert holding == {"logs", "withheld"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "withheld").iterdir()}
    assert (modes, stat.S_IMODE((tmp_path / "withheld").stat().st_mode)) == ({0o600}, 0o700)


def test_what_is_withheld_is_kept_once_whole_and_found_by_its_placeholder(tmp_path: Path) -> None:
    """Killed after it was kept and before its position was saved, and read again."""
    site, body = site_of(tmp_path, "json")
    torn = body.splitlines()[-1]
    (tmp_path / "logs" / "app.log").write_text(torn + "\n" + body)
    site.broker.down = True
    for _ in range(3):
        one = site.begin(once=True, withheld=Withheld(tmp_path / "withheld"))
        for _ in range(10):
            one.step()
        site.kill()
        assert len(Withheld(tmp_path / "withheld")) == 1, "kept before the log knows of it"
    assert sent(site) == []
    site.broker.down = False
    run(site, withheld=Withheld(tmp_path / "withheld"))
    kept = list(Withheld(tmp_path / "withheld"))
    assert [one.raw.decode().rstrip("\n") for one in kept] == [torn, torn], "the first line and the last, each once"
    placeholders = [json.loads(value) for value in sent(site) if value.startswith(b'{"withheld"')]
    assert [(one["digest"], one["bytes"]) for one in placeholders] == [(one.digest, len(one.raw)) for one in kept]
    assert hashed_by(kept[0].digest) == "k1"
    site.stop()


def test_a_full_folder_is_back_pressure_and_nothing_is_lost(tmp_path: Path) -> None:
    site, _ = site_of(tmp_path, "json")
    one = site.begin(once=True, withheld=Withheld(tmp_path / "withheld", max_bytes=10))
    for _ in range(20):
        one.step()
    assert not one.done
    assert "there is no room for more" in "".join(site.told)
    assert "alice" not in "".join(site.told).casefold()
    site.kill()
    assert run(site, withheld=Withheld(tmp_path / "withheld")).counts.withheld == 1
    assert len(Withheld(tmp_path / "withheld")) == 1
    site.stop()


def test_without_a_key_no_collector_begins(tmp_path: Path) -> None:
    site, _ = site_of(tmp_path, "json")
    with pytest.raises(Invalid, match=r"email: declared pii: hash.*LASTSEEN_PII_KEY"):
        site.begin(privacy=privacy_of(LANDSCAPE, KeyRing()))
    assert all(not part.rows for part in site.broker.topics[EVENTS])


def test_events_of_others_are_cleared_by_their_own_names(tmp_path: Path) -> None:
    """Records that are events already: no mapping says what is in them."""
    text = "collector: bus\ninput: {file: {paths: ['logs/app.log']}}\nformat: events\n"
    site = Site(tmp_path, text, landscape=LANDSCAPE, privacy=privacy_of(LANDSCAPE, RING))
    good = {
        "id": f"x-{ALICE}",
        "system": "shop",
        "step": "placed",
        "time": 1_800_000_000_000_000,
        "keys": {"order": "1", "email": ALICE},
    }
    more = [
        {**good, "attributes": {"IBAN": IBAN, "user.email": ALICE, "text": f"{ALICE}!"}, "error": f"{ALICE} {IBAN}"},
        {**good, "id": "no-time", "time": f"{ALICE}"},
        {**good, "id": "no-keys", "keys": {"card": CARD}},
    ]
    (tmp_path / "logs" / "app.log").write_text("".join(json.dumps(one) + "\n" for one in more), encoding="utf-8")
    one = run(site, withheld=Withheld(tmp_path / "withheld"))
    everything = b"\n".join(sent(site)).decode("utf-8", "backslashreplace").casefold()
    assert [value for value in PLAIN if value in everything] == []
    assert (one.counts.events, one.counts.quarantined) == (1, 2)
    site.stop()


def test_what_is_kept_comes_back_as_it_was_and_can_go(tmp_path: Path) -> None:
    folder = Withheld(tmp_path / "here")
    records = [Kept("shop", "s", str(n), "torn: \n'x'", "", bytes([n]) * n + b"\n\n{") for n in range(3)]
    for record in (*records, *records):
        folder.keep(record)
    assert sorted(Withheld(tmp_path / "here")) == records
    (tmp_path / "here" / "other.txt").write_text("left alone")
    (tmp_path / "here" / "torn.withheld").write_bytes(b"\xff")
    assert sorted(folder) == records
    folder.drop(records[0])
    folder.drop(records[0])
    assert sorted(Withheld(tmp_path / "here")) == records[1:]


def test_a_disk_that_refuses_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Unavailable):
        Withheld(tmp_path / "file" / "below").keep(Kept("a", "b", "c", "d", "", b"e"))
