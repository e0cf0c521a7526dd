"""Personal data: what is declared leaves hashed or not at all, from keys, attributes, ids, texts and bytes; keys change; and where
there is no key, or no way to tell, nothing is sent."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from schemas import landscape as contract
from schemas.landscape import KeyType, Landscape
from tracer import keyring
from tracer.keyring import KeyRing, NoKey, hashed_by
from tracer.privacy import REMOVED, Personal, Privacy

OLD, NEW = "k1:one-secret-of-the-past", "k2:another-secret-of-now"
RING = KeyRing.read({"LASTSEEN_PII_KEY": f"{NEW} {OLD}"})
EMAIL = KeyType(case="lower", pii="hash")
KINDS = Landscape(keys={"email": EMAIL, "order": KeyType(transaction=True), "card": KeyType(pii="remove")})
PRIVACY = Privacy(
    {"email": "hash", "card": "remove"}, {"name": "remove", "phone": "hash"}, RING, KINDS.normalisers()
)  # fmt: skip

# Characters that key values may have.
printable = st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, exclude_categories=("C", "Z"))
values = st.text(printable, min_size=3, max_size=40).map(str.strip).filter(lambda text: len(text) >= 3)
addresses = st.builds("{}@{}.de".format, st.text("abcXYZ09.-_+", min_size=1, max_size=12), st.text("abcx9", min_size=1))


def event(**more: Any) -> dict[str, Any]:
    return {"id": "e-1", "system": "shop", "step": "placed", "time": 1, "keys": {"order": "10248"}, **more}


def test_a_key_is_hashed_in_the_form_under_which_values_meet() -> None:
    (one, other) = (
        PRIVACY.event(event(keys={"order": "1", "email": text}))
        for text in (" Alice@Example.com ", "alice@example.com")
    )
    assert one["keys"] == other["keys"]
    assert hashed_by(one["keys"]["email"]) == "k2"
    assert one["keys"]["email"] in RING.hashes("alice@example.com")
    assert one["keys"]["order"] == "1"


def test_the_hash_can_be_made_elsewhere_as_documented() -> None:
    said = "import hmac,base64;d=hmac.new(b'another-secret-of-now',b'alice@example.com','sha256').digest();"
    said += "print('h:k2:'+base64.b32encode(d).decode().strip('=').lower())"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == RING.hash("alice@example.com")


def test_what_is_to_be_removed_is_gone() -> None:
    sent = PRIVACY.event(event(keys={"order": "1", "card": "4111"}, attributes={"name": "Alice Smith", "total": 3}))
    assert (sent["keys"], sent["attributes"]) == ({"order": "1"}, {"total": 3})


def test_a_rule_holds_for_attributes_of_any_case_and_behind_dots() -> None:
    sent = PRIVACY.event(
        event(attributes={"customer.Email": "A@x.de", "NAME": "Bob", "phone": 491701234567, "nick": "b"})
    )
    assert sent["attributes"] == {
        "customer.Email": RING.hash("a@x.de"),
        "phone": RING.hash("491701234567"),
        "nick": "b",
    }


def test_texts_and_ids_that_repeat_a_value_are_cleared_of_it() -> None:
    plain = event(
        id="shop:Alice%40example.com:placed",
        keys={"order": "1", "email": "Alice@example.com"},
        attributes={"name": "Bo", "note": "Bo, ALICE@example.com; Bodo"},
        error="no mailbox alice@EXAMPLE.com (Bo), nor carl@else.org",
    )
    sent = PRIVACY.event(plain)
    hashed = RING.hash("alice@example.com")
    assert sent["attributes"] == {"note": f"{REMOVED}, {hashed}; Bodo"}
    assert sent["error"] == f"no mailbox {hashed} ({REMOVED}), nor {RING.hash('carl@else.org')}"
    assert hashed_by(sent["id"]) == "k1", "by the oldest key: it stays the same when keys are changed"
    assert PRIVACY.event(event(keys={"order": "1", "email": "Alice@example.com"}))["id"] == "e-1"


def test_what_one_event_of_a_record_knows_holds_for_the_others() -> None:
    first = event(id="m:alice@x.de:placed", keys={"order": "1", "email": "alice@x.de"})
    second = event(id="m:alice@x.de:paid", error="refused: alice@x.de")
    sent = PRIVACY.events([first, second])
    assert "alice" not in json.dumps(sent)
    assert sent[0]["id"] != sent[1]["id"]


def test_short_values_and_numbers_are_no_part_of_others() -> None:
    plain = event(id="shop:10248", attributes={"name": "1024", "note": "10248 items, to 1024"})
    sent = PRIVACY.event(plain)
    assert (sent["keys"], sent["id"]) == ({"order": "10248"}, "shop:10248")
    assert sent["attributes"] == {"note": f"10248 items, to {REMOVED}"}


def test_without_rules_nothing_is_touched() -> None:
    plain = event(keys={"email": "a@x.de"}, error="a@x.de")
    assert Privacy().event(plain) == plain
    assert Privacy().payload(b"a@x.de", None, "f:1") == (b"a@x.de", False)
    assert not Privacy()


# Applied twice -----------------------------------------------------------------------------------------------------


@given(addresses, st.sampled_from([RING, KeyRing.read({"LASTSEEN_PII_KEY": f"{OLD}"})]))
def test_applying_it_twice_is_applying_it_once(address: str, ring: KeyRing) -> None:
    """Also after keys were changed: what the old key hashed stays, and is not hashed again."""
    first = Privacy({"email": "hash"}, ring=ring, normalise=KINDS.normalisers())
    sent = first.event(event(id=address, keys={"email": address}, attributes={"email": address}, error=f"to {address}"))
    assert PRIVACY.event(sent) == sent


kinds = st.builds(
    KeyType, trim=st.booleans(), case=st.sampled_from(["keep", "upper", "lower"]), pii=st.just("hash"),
    leading_zeros=st.sampled_from(["keep", "drop"]),
)  # fmt: skip


@given(values, kinds)
def test_a_worker_that_normalises_again_leaves_a_hash_as_it_is(value: str, kind: KeyType) -> None:
    privacy = Privacy({"x": "hash"}, ring=RING, normalise={"x": kind.normalise})
    hashed = privacy.event(event(keys={"x": value}))["keys"]["x"]
    assert kind.normalise(hashed) == hashed
    assert hashed == RING.hash(kind.normalise(value)), "and who asks for the plain value finds it"


@given(st.one_of(values, st.text(), st.from_regex(r"h:[a-z0-9]{1,16}:[a-z2-7]{1,51}", fullmatch=True)))
@example("h:k1:")
@example("h:k1:" + "a" * 51 + "b")
def test_no_ordinary_value_has_the_form_of_a_hash(value: str) -> None:
    """The form is of 52 letters that end in one of two: nothing shorter, longer, or near it."""
    assert hashed_by(value) is None
    assert contract.HASHED.fullmatch(value) is None
    plain = KeyType(case="upper", leading_zeros="drop", pii="hash")
    assert plain.normalise(value) == KeyType(case="upper", leading_zeros="drop").normalise(value)


def test_the_contract_and_the_tracer_know_one_form() -> None:
    assert contract.HASHED.pattern.replace("(", "").replace(")", "") == keyring._HASHED.pattern.replace(
        "(", ""
    ).replace(")", "")


def test_a_value_in_the_form_of_a_key_that_we_do_not_have_is_hashed() -> None:
    foreign = RING.hash("x").replace("h:k2:", "h:k9:")
    sent = PRIVACY.event(event(keys={"email": foreign}))
    assert hashed_by(sent["keys"]["email"]) == "k2"


# Keys --------------------------------------------------------------------------------------------------------------


def test_the_first_key_is_the_current_one_and_all_are_looked_under() -> None:
    assert (RING.current, RING.ids) == ("k2", ("k2", "k1"))
    assert [hashed_by(form) for form in RING.hashes("x")] == ["k2", "k1"]
    assert RING.lasting("x") == RING.hashes("x")[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("secret-without-an-id", "key 1 is not ID:SECRET"),
        (f"{NEW} K1:upper-case-is-no-id", "key 2 is not ID:SECRET"),
        ("k1:few-letters", "shorter than 16 bytes"),
        (f"{OLD} k1:another-secret-of-k1", "the id k1 stands for two keys"),
        ("k1:", "key 1 is not ID:SECRET"),
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(text: str, says: str) -> None:
    with pytest.raises(NoKey, match=says) as caught:
        KeyRing.read({"LASTSEEN_PII_KEY": text})
    for secret in filter(None, (word.rpartition(":")[2] for word in text.split())):
        assert secret not in str(caught.value)


def test_no_secret_is_ever_shown() -> None:
    assert "secret" not in f"{RING!r} {PRIVACY!r}"


def test_without_a_key_nothing_that_is_to_be_hashed_is_sent() -> None:
    bare = Privacy({"email": "hash", "card": "remove"})
    with pytest.raises(NoKey, match=r"email: declared pii: hash.*LASTSEEN_PII_KEY=ID:SECRET"):
        bare.require()
    bare.require(["card", "order"])
    with pytest.raises(NoKey):
        bare.event(event(keys={"email": "a@x.de"}))
    assert bare.event(event(keys={"order": "1", "card": "4"}))["keys"] == {"order": "1"}
    with pytest.raises(NoKey, match="id"):
        bare.event(event(id="card-4111", keys={"order": "1", "card": "4111"}))
    assert bare.payload(b"a@x.de 4111", bare.found(record={"email": "a@x.de", "card": 4111}), "f:1").body == b"*** ***"


def test_a_key_is_made_beside_an_embedded_log_once_and_for_its_owner_only(tmp_path: Path) -> None:
    assert not KeyRing.read({}, tmp_path)
    made = KeyRing.read({}, tmp_path, create=True)
    assert made.ids == ("k1",)
    path = tmp_path / keyring.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for create in (True, False):
        assert KeyRing.read({}, tmp_path, create=create).hash("x") == made.hash("x")
    assert os.listdir(tmp_path) == [keyring.FILE_NAME]
    both = KeyRing.read({"LASTSEEN_PII_KEY": NEW}, tmp_path)
    assert both.ids == ("k2", "k1"), "the environment's is the current one, and what the file's hashed is found"
    with pytest.raises(NoKey, match="different keys under the id k1"):
        KeyRing.read({"LASTSEEN_PII_KEY": OLD}, tmp_path)


def test_many_who_make_a_key_at_once_have_the_same(tmp_path: Path) -> None:
    said = "import sys,pathlib;from tracer.keyring import KeyRing;"
    said += "print(KeyRing.read({},pathlib.Path(sys.argv[1]),create=True).hash('x'))"
    running = [
        subprocess.Popen([sys.executable, "-c", said, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in running}) == 1


# Bytes -------------------------------------------------------------------------------------------------------------

WRITTEN: dict[str, Callable[[str], bytes]] = {
    "as it is": lambda value: value.encode(),
    "JSON": lambda value: json.dumps({"a": value}).encode(),
    "JSON in UTF-8": lambda value: json.dumps({"a": value}, ensure_ascii=False).encode(),
    "URL": lambda value: f"GET /x?q={urllib.parse.quote(value, safe='')}&r=1".encode(),
    "form": lambda value: f"q={urllib.parse.quote_plus(value)}".encode(),
    "XML": lambda value: f"<a b='{escape(value)}'/>".encode(),
    "CSV": lambda value: '1,"{}",2'.format(value.replace('"', '""')).encode(),
    "UTF-16": lambda value: f"<{value}>".encode("utf-16-le"),
    "other case": lambda value: f"<{value.upper()}>".encode(),
}


ascii_values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=3, max_size=30)


@given(
    st.one_of(values, addresses, ascii_values),
    st.sampled_from(sorted(WRITTEN)),
    st.binary(max_size=20),
    st.sampled_from(["email", "name"]),
)
def test_no_plain_value_survives_in_what_is_sent_of_bytes(value: str, form: str, noise: bytes, name: str) -> None:
    """Replaced in every form; where a form is not recognised, the bytes are withheld."""
    # What is put in has none of these letters.
    assume(not set(value.casefold()) <= set("h:k2*abcdefgijlmnopqrstuvwxyz34567"))
    raw = noise + WRITTEN[form](value) + noise
    body, withheld = PRIVACY.payload(raw, PRIVACY.found(record={"x": [{name: value}]}), "f:1")
    if withheld:
        assert json.loads(body)["bytes"] == len(raw)
    assert value.casefold() not in _read_in_every_way(body)


def _read_in_every_way(body: bytes) -> str:
    texts = [body.decode(name, "replace") for name in ("utf-8", "latin-1", "utf-16-le")]
    texts += [urllib.parse.unquote_plus(text) for text in texts]
    return "\n".join(texts).casefold()


def test_usual_forms_are_replaced_and_the_rest_stays_readable() -> None:
    known = PRIVACY.found(record={"email": "Alice@x.de", "customer": {"Name": 'Bob Ö. "Lee"'}})
    hashed = RING.hash("alice@x.de").encode()
    for name, write in WRITTEN.items():
        raw = b"1;" + write("Alice@x.de") + b";" + write('Bob Ö. "Lee"') + b";2"
        body, withheld = PRIVACY.payload(raw, known, "f:1")
        assert not withheld, name
        assert body.startswith(b"1;")
        assert hashed in body.replace(b"\0", b""), name
        assert REMOVED.encode() in body.replace(b"\0", b""), name


def test_records_of_mainframes_are_read_in_their_encoding() -> None:
    known = PRIVACY.found(record={"name": "MUELLER"})
    body, withheld = PRIVACY.payload("0001MUELLER   BERLIN".encode("cp037"), known, "f:1")
    assert (body.decode("cp037"), withheld) == ("0001***   BERLIN", False)


@pytest.mark.parametrize(
    ("personal", "raw"),
    [
        (None, b'{"email": "alice@x.de'),
        (Personal({"alice": "***"}), b"YWxpY2U="),
        (PRIVACY.found(record={"name": True}), b'{"name": true}'),
        (PRIVACY.found(record={"name": "Bo"}), b'{"name": "Bo"}'),
        (Personal({"a/b c": "***"}), b"a/b c and again a%2Fb+c and a\\u002fb c"),
    ],
)
def test_what_cannot_be_found_is_withheld(personal: Personal | None, raw: bytes) -> None:
    """Torn lines, base64, truth values, two letters, a value that stands again in a form of its own."""
    body, withheld = PRIVACY.payload(raw, personal, "orders.log:17")
    assert withheld
    said = json.loads(body)
    assert (said["place"], said["bytes"]) == ("orders.log:17", len(raw))
    assert hashed_by(said["digest"]) == "k2", "keyed: the digest of a short line could be tried out"


def test_records_without_personal_data_are_sent_as_they_stood_but_for_addresses() -> None:
    assert PRIVACY.payload(b"\xff\x00 torn", Personal(), "f:1") == (b"\xff\x00 torn", False)
    body, _ = PRIVACY.payload(b"GET /?m=bob%40x.de carl@y.de", Personal(), "f:1")
    assert body == f"GET /?m={RING.hash('bob@x.de')} {RING.hash('carl@y.de')}".encode()
    assert Privacy({"card": "remove"}).payload(b"bob@x.de", Personal(), "f:1").body == b"bob@x.de", (
        "no rule is about mail"
    )


def test_what_was_cut_off_before_does_not_end_in_half_a_value() -> None:
    raw = b"alice@x.de " + b"x" * 5_000 + b" alice@"
    body, withheld = PRIVACY.payload(raw, Personal({"alice@x.de": "***"}), "f:1", limit=len(raw))
    assert not withheld
    assert b"alice" not in body


def test_deep_nesting_and_hostile_shapes_are_withheld_or_survived() -> None:
    deep: Any = "alice@x.de"
    for _ in range(500):
        deep = [deep]
    assert PRIVACY.found(record={"a": deep}).opaque
    assert PRIVACY.found(record={"email": deep}).opaque
    odd = {"email": {"home": "a@x.de", "work": ["b@x.de", None, 7]}, 3: "x", "name": ""}
    assert set(PRIVACY.found(record=odd).values) == {"a@x.de", "b@x.de", "7"}
    assert PRIVACY.event({"keys": None, "attributes": "none", "error": 7, "id": 3}) == {
        "keys": None, "attributes": "none", "error": 7, "id": 3,
    }  # fmt: skip


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["email", "name", "x"]), inner),
    )
)
def test_no_record_makes_it_raise(record: Any) -> None:
    raw = json.dumps(record).encode()
    PRIVACY.payload(raw, PRIVACY.found(record=record), "f:1")
    PRIVACY.text(raw.decode(), PRIVACY.found(record=record))
