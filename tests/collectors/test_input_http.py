"""HTTP intake, with the CloudEvents SDK and plain requests.

Proves: each mode and body becomes its records; the answer comes after the log's acknowledgement and says what could not be read;
what is sent again is the same; strangers, excess and bombs are refused."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from collectors.formats.cloudevents import CloudEventsFormat
from collectors.formats.contract import Format
from collectors.formats.events import EventsFormat
from collectors.formats.json import JsonFormat
from collectors.inputs.http import HttpInput, HttpLive
from collectors.inputs.live import Parcel
from schemas.errors import Invalid
from tests.collectors.receiving import Loop, context, event, fields, looping, reason, until
from tracer.errors import Unavailable


def opened(layout: Format | None = None, env: dict[str, str] | None = None, **options: Any) -> HttpLive:
    spec = HttpInput.model_validate({"port": 0, **options})
    live = spec.open(context(layout or JsonFormat(), env=env))
    assert isinstance(live, HttpLive)
    return live


def post(live: Any, body: bytes, **headers: str) -> requests.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(f"http://127.0.0.1:{live.port}/any/path", body, headers=names, timeout=20)


@pytest.fixture
def loop() -> Iterator[Loop]:
    with looping(opened()) as running:
        yield running


def cloud_event(number: int) -> CloudEvent:
    attributes = {
        "id": str(number),
        "source": "/shop",
        "type": "com.shop.paid",
        "specversion": "1.0",
        "subject": "Käse & €",
    }
    return CloudEvent(attributes, {"order": number})


def test_the_cloudevents_sdk_in_both_modes() -> None:
    """Of one event both are one record."""
    with looping(opened(CloudEventsFormat())) as loop:
        for message in (
            binding.to_binary_event(cloud_event(7)),
            binding.to_structured_event(cloud_event(7)),
            binding.to_binary(cloud_event(8), JSONFormat()),
            binding.to_structured(cloud_event(8), JSONFormat()),
        ):
            body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
            address = f"http://127.0.0.1:{loop.live.port}/"  # type: ignore[attr-defined]
            assert requests.post(address, body, headers=dict(message.headers), timeout=20).json() == {"accepted": 1}
        found = [fields(item) for item in loop.items(4)]
    assert [(each["subject"], each["data"]) for each in found] == [("Käse & €", {"order": n}) for n in (7, 7, 8, 8)]
    assert len({place for place, _ in loop.accepted}) == 2


def test_a_batch_of_cloudevents() -> None:
    with looping(opened(CloudEventsFormat())) as loop:
        attributes = {"source": "/shop", "type": "t", "specversion": "1.0"}
        batch = [{**attributes, "id": "1"}, {"id": "2"}, {**attributes, "id": "3"}]
        answer = post(loop.live, json.dumps(batch).encode(), content_type="application/cloudevents-batch+json")
        assert answer.status_code == 200
        assert answer.json() == {
            "accepted": 2, "unreadable": 1, "reasons": [{"line": 2, "reason": "no CloudEvent: source is missing"}],
        }  # fmt: skip
        assert len(loop.items(3)) == 3


@pytest.mark.parametrize(
    "body", [b'[{"a": 1}, {"a": 2}]', b'{"a": 1}\n{"a": 2}\n', b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}']
)
def test_json_as_list_and_as_lines(loop: Loop, body: bytes) -> None:
    assert post(loop.live, body).json() == {"accepted": 2}
    assert [fields(item)["a"] for item in loop.items(2)] == [1, 2]


def test_events_of_our_own() -> None:
    """Those that bring an id keep it, the others are known by what they say."""
    ours = {"system": "shop", "step": "placed", "time": "2026-01-31T08:00:00Z", "keys": {"order": "7"}}
    with looping(opened(EventsFormat())) as loop:
        for _ in range(2):
            assert post(loop.live, json.dumps([{**ours, "id": "x1"}, ours]).encode()).json() == {"accepted": 2}
        assert event(loop.items(4)[0])["id"] == "x1"
        places = [place for place, _ in loop.accepted]
    assert places[:2] == places[2:]
    assert places[0] == "|x1"


def test_what_is_sent_again_is_the_same(loop: Loop) -> None:
    """By its content; by the request's own key, whatever its content; equal ones of one request are two."""
    body = b'{"a": 1}\n{"a": 1}\n{"a": 2}'
    for sent in (body, b'{"a": 2}', body):
        post(loop.live, sent)
    places = [place for place, _ in loop.accepted]
    assert len(loop.items(7)) == 7
    assert len(set(places)) == 3
    assert places[:3] == places[4:]
    assert places[2] == places[3]
    for sent in (b'{"a": 3}', b'{"a": 4}'):
        post(loop.live, sent, Idempotency_Key="abc")
    loop.wait(lambda: len(loop.accepted) == 9)
    assert loop.accepted[7][0] == loop.accepted[8][0] == "|abc#0"


def test_what_cannot_be_read(loop: Loop) -> None:
    """400 where nothing could; all of it is set aside."""
    answer = post(loop.live, b"\xff")
    assert (answer.status_code, answer.json()["unreadable"]) == (400, 1)
    answer = post(loop.live, b'{"a": 1}\nx')
    assert (answer.status_code, answer.json()["accepted"], answer.json()["unreadable"]) == (200, 1, 1)
    assert reason(loop.items(3)[0])
    assert post(loop.live, b"").json() == {"accepted": 0}


def test_the_answer_waits_for_the_log() -> None:
    may = threading.Event()

    def settle(_: Parcel) -> None:
        assert may.wait(20)

    live = opened()
    with looping(live, settle):
        answers: list[int] = []
        sender = threading.Thread(target=lambda: answers.append(post(live, b'{"a": 1}').status_code))
        sender.start()
        until(lambda: live.counts["received"] == 1)
        assert not answers
        may.set()
        sender.join(20)
        assert answers == [200]


def test_full_or_away() -> None:
    with looping(opened(), lambda _: Unavailable("the log is away")) as loop:
        answer = post(loop.live, b'{"a": 1}')
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    live = opened(max_waiting=1, patience="200ms")
    try:
        assert [post(live, b'{"a": 1}').status_code for _ in range(3)] == [503, 503, 503]
        assert live.counts["received"] == 1
        assert not requests.get(f"http://127.0.0.1:{live.port}/", timeout=20).json()["ready"]
    finally:
        live.close()
    with pytest.raises(requests.ConnectionError):
        post(live, b"")


def test_excess_bombs_and_strangers() -> None:
    """Faults 28 and 29."""
    env = {"LASTSEEN_INTAKE_TOKEN": "s3cret"}
    with looping(opened(env=env, max_body=2048)) as loop:
        answer = post(loop.live, b"{}")
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        token = "Bearer s3cret"
        assert post(loop.live, b" " * 4096, Authorization=token).status_code == 413
        bomb = gzip.compress(b" " * (32 << 20))
        assert post(loop.live, bomb, Authorization=token, Content_Encoding="gzip").status_code == 413
        assert post(loop.live, gzip.compress(b'{"a": 1}') * 2, Authorization=token, Content_Encoding="gzip").json() == {
            "accepted": 2
        }
        items = loop.items(4)
        assert [reason(item) for item in items[:2]] == ["more than 2048 bytes"] * 2
        assert "s3cret" not in repr(loop.parcels)
    with pytest.raises(Invalid, match="anonymous"):
        opened(host="0.0.0.0")
    opened(host="0.0.0.0", anonymous=True).close()


def test_a_collector_that_stops_says_so() -> None:
    """What it had taken in and not given to the log is refused: the sender comes again."""
    live = opened()
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.append(post(live, b'{"a": 1}').status_code))
    sender.start()
    until(lambda: live.counts["received"] == 1)
    live.close()
    sender.join(20)
    assert answers == [503]
