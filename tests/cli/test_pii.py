"""Personal data through the commands: loaded files leave no plain value in the log, the store, quarantine or on the terminal; the
plain value finds what was hashed, also after the key was changed; forgetting reaches it; and it is said which key is missing."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.pii_world import ALICE, ALICES, BOB, BOBS, HEADER, MAPPING, NEW, OLD, ROWS, PiiWorld
from tests.cli.test_processes import Place, place
from tracer.keyring import KeyRing

__all__ = ["place"]


@pytest.fixture
def world(tmp_path: Path) -> PiiWorld:
    made = PiiWorld(tmp_path, OLD)
    made.load()
    made.work()
    return made


def test_no_plain_value_is_anywhere_and_everything_is_accounted_for(world: PiiWorld) -> None:
    kept = json.loads(world.run("quarantine", "list", "--format", "json").stdout)
    for row in kept:
        world.run("quarantine", "show", row["id"])
        world.run("quarantine", "show", row["id"], "--format", "json")
    for value in (*ALICES, *BOBS):
        assert value not in world.everything(), value
    # Each fault has its reason and its line; the line that could not be read is told by its place alone.
    assert {row["reason"].partition(": ")[0].rpartition(":")[2] for row in kept} == {"4", "5", "6"}
    assert "read 6, events 4, quarantined 3" in world.said[0]
    assert "1 of them stay where they stand" in world.said[0]
    assert "not a number" in "".join(row["reason"] for row in kept)
    assert "10250,2026-03-02 09:20,h:k1:" in world.stored(), "what is not personal can still be read"
    assert '"withheld"' in world.stored()


def test_the_plain_value_finds_it_in_whatever_form_it_is_typed(world: PiiWorld) -> None:
    for typed in (ALICE, f" {ALICE.lower()} ", ALICE.upper()):
        assert world.found(typed) == ["10248"]
        assert world.found(typed, "--key", "email") == ["10248"]
    hashed = KeyRing.read({"LASTSEEN_PII_KEY": OLD}).hash(ALICE.lower())
    assert world.found(hashed) == ["10248"], "as it stands in an answer"
    assert "e-mail address (hashed)" in " ".join(world.run("lookup", ALICE).output.split())
    assert world.found("nobody@example.com", code=1) == []
    assert world.found(ALICE, "--key", "order", code=1) == []


def test_after_the_key_was_changed_old_and_new_are_found(world: PiiWorld) -> None:
    world.keys = [NEW, OLD]
    world.load((ROWS[0].replace("10248", "10260"),))
    world.work()
    assert world.found(ALICE) == ["10248", "10260"]
    world.keys = [NEW]
    assert world.found(ALICE) == ["10260"]
    assert world.found(BOB, code=1) == []
    assert "some of what is kept as email was hashed by the key k1, not known here" in world.said[-1]
    world.keys = []
    world.run("lookup", ALICE, code=1)
    assert "hashed by the keys k1, k2" in world.said[-1]
    assert not any(value in sent for value in ALICES for sent in (*world.sent, world.stored()))


def test_loading_again_changes_nothing_also_with_another_key(world: PiiWorld) -> None:
    """The primary key is an e-mail address: ids are made of it, and stay while the oldest key is kept."""
    by_mail = MAPPING.replace("key: id", "key: mail").replace("mapping: shop-export", "mapping: by-mail")
    for keys in ([OLD], [OLD], [NEW, OLD]):
        world.keys = keys
        world.load(ROWS[:2], by_mail)
    world.work()
    (answer,) = json.loads(world.run("lookup", "10249", "--format", "json").stdout)
    assert [one["event_id"][:5] for one in answer["evidence"] if one["source"] == "by-mail"] == ["h:k1:"]
    assert not any(value in world.everything() for value in (*ALICES, *BOBS))
    counted = [events for transaction, events in world.memory.load_events([("order", "10249")]).items()]
    assert len({event.id for event in counted[0] if event.source == "by-mail"}) == 1


def test_forgetting_by_the_plain_value_reaches_every_key(world: PiiWorld) -> None:
    world.keys = [NEW, OLD]
    world.load((ROWS[0].replace("10248", "10260"),))
    world.work()
    world.run("forget", f"email:{ALICE}", "--yes", "--wait", "0", code=1)
    world.work()
    after = json.loads(world.run("forget", f"email:{ALICE}", "--dry-run", "--format", "json").stdout)
    assert (after["transactions"], after["rows"], after["refused_already"]) == ([], {}, True)
    assert world.found(ALICE, code=1) == []
    assert world.found(BOB) == ["10249", "10253"]
    world.load((ROWS[0].replace("10248", "10270"),))
    world.work()
    assert world.found(ALICE, code=1) == [], "its return is refused"
    assert not any(value in world.stored() for value in ALICES)
    assert not any(value in sent for value in ALICES for sent in (*world.sent, world.logged()))


def test_forgetting_without_the_key_is_refused_or_told(world: PiiWorld) -> None:
    world.keys = []
    assert "set LASTSEEN_PII_KEY" in world.run("forget", f"email:{ALICE}", "--yes", code=2).output
    world.keys = [NEW]
    said = world.run("forget", f"email:{ALICE}", "--yes", "--wait", "0", "--format", "json", code=1)
    assert json.loads(said.stdout)["keys_missing"] == ["k1"]
    assert "key k1" in said.stderr


def test_who_claims_a_hashed_number_is_asked_by_the_plain_one(world: PiiWorld) -> None:
    assert "No transaction claims e-mail address h:k1:" in world.run("link", f"email:{ALICE}", code=1).output
    world.keys = []
    assert "set LASTSEEN_PII_KEY" in world.run("link", f"email:{ALICE}", code=2).output


def test_without_a_key_nothing_is_loaded(tmp_path: Path) -> None:
    world = PiiWorld(tmp_path)
    said = world.load(code=2).output
    assert "email: declared pii: hash, and there is no key to hash by" in said
    assert "\n" not in world.logged().strip()
    no_mail = MAPPING.replace(", email: mail", "")
    assert "events" in world.load(ROWS[1:2], no_mail).output, "a mapping that reads none needs no key"
    assert not any(value in world.everything() for value in BOBS)


@pytest.mark.parametrize("key", ["a-secret-without-id", "k1:few-letters"])
def test_what_is_no_key_is_said_without_showing_it(tmp_path: Path, key: str) -> None:
    world = PiiWorld(tmp_path, key)
    said = world.load(code=2).output
    assert "LASTSEEN_PII_KEY" in said
    assert key.rpartition(":")[2] not in said


def test_on_a_real_folder_a_key_is_made_and_nothing_holds_the_plain_value(place: Place) -> None:
    source, rules = place.folder / "orders.csv", place.folder / "shop.yaml"
    source.write_text(HEADER + "".join(row + "\n" for row in ROWS))
    rules.write_text(MAPPING)
    said = place.run("load", str(source), "--mapping", str(rules))
    key = place.folder / "data" / "pii-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    secret = key.read_text().strip().partition(":")[2]
    assert secret not in said
    (answer,) = json.loads(place.run("lookup", ALICE, "--format", "json"))
    assert answer["transaction_id"] == "10248"
    for path in (path for path in place.folder.joinpath("data").rglob("*") if path.is_file()):
        content = path.read_bytes().lower()
        assert not any(value.encode() in content for value in (*ALICES, *BOBS)), path
        assert path == key or secret.encode() not in content, path
    here = holding(place, "alice.smith", "bob@", "10250")
    assert (here["alice.smith"], here["bob@"]) == ([], [])
    assert "quarantine" in here["10250"]
    report = json.loads(place.run("forget", f"email:{ALICE}", "--yes", "--format", "json"))
    assert report["done"] is True


SCAN = """
import json, sys
from pipeline.store import open_store
store = open_store(f"chdb://{sys.argv[1]}", {})
ours = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine NOT LIKE '%View'"
tables = [row[0] for row in store._client.rows(ours)]
text = "SELECT count() FROM {} WHERE positionCaseInsensitive(toString(tuple(*)), {{value:String}}) > 0"
holds = lambda table, value: store._client.rows(text.format(table), {"value": value})[0][0]
print(json.dumps({value: [table for table in tables if holds(table, value)] for value in sys.argv[2:]}))
store.close()
"""


def holding(place: Place, *values: str) -> dict[str, list[str]]:
    """By value, the tables of the real folder in which it stands anywhere, as text, in whatever case."""
    folder = str(place.folder / "data" / "store")
    done = subprocess.run(
        [sys.executable, "-c", SCAN, folder, *values], capture_output=True, text=True, check=True, env=place.env
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))
