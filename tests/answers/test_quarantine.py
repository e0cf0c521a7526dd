"""What is retried comes back as a record that can be read, once, with what its source said of itself."""

from __future__ import annotations

import json

import pytest

from pipeline.answers import quarantine
from pipeline.errors import Invalid, Unavailable
from pipeline.log.memory import MemoryLog
from pipeline.store import MemoryStore
from schemas import wire
from tests.answers.world import quarantined
from tracer.record import EVENTS


def stored(log: MemoryLog) -> list[tuple[bytes, bytes, dict[str, bytes]]]:
    return [
        (row.key, row.value, dict(row.headers)) for partition in log.broker.topics[EVENTS] for row in partition.rows
    ]


def test_a_line_of_a_batch_is_produced_by_itself_and_marked() -> None:
    store, log = MemoryStore(), MemoryLog()
    store.write_quarantine([quarantined()])
    assert quarantine.retry(store, log.producer().produce, ["lastseen.events:0:5:1"]) == (1, [])
    ((key, value, headers),) = stored(log)
    assert (key, headers) == (b"order:31", {"ls-source": b"shop-1", "ls-epoch": b"7"})
    events, _, bad = wire.decode(value, "shop-1", 7)
    assert [event.id for event in events] == ["q1"]
    assert bad == []
    assert store.quarantine() == []
    assert store.quarantine(["lastseen.events:0:5:1"])[0].state == "retried"


def test_a_packed_record_stays_packed() -> None:
    store, log = MemoryStore(), MemoryLog()
    body = wire.compress(b'{"id":"q2"}')
    store.write_quarantine([quarantined(payload=body)])
    quarantine.retry(store, log.producer().produce, [], everything=True)
    ((_, value, headers),) = stored(log)
    assert (value, headers["content-encoding"]) == (body, b"lz4")


def test_retrying_is_asked_for_by_name_and_done_once() -> None:
    store, log = MemoryStore(), MemoryLog()
    produce = log.producer().produce
    rows = [quarantined(f"t:0:{number}:0", source=f"s{number % 2}") for number in range(1200)]
    store.write_quarantine(rows)
    with pytest.raises(Invalid, match="say what to retry"):
        quarantine.retry(store, produce, [])
    with pytest.raises(Invalid, match="nothing is in quarantine under 'x'"):
        quarantine.retry(store, produce, ["t:0:1:0", "x"])
    assert stored(log) == []
    assert quarantine.retry(store, produce, [], source="s1") == (600, [])
    with pytest.raises(Invalid, match="t:0:1:0 was retried already"):
        quarantine.retry(store, produce, ["t:0:1:0"])
    assert quarantine.retry(store, produce, [], everything=True) == (600, [])
    assert len(stored(log)) == 1200
    assert quarantine.retry(store, produce, [], everything=True) == (0, [])


def test_what_a_loader_set_aside_is_left_as_it_is() -> None:
    store, log = MemoryStore(), MemoryLog()
    told = json.dumps({"ls-source": "northwind", "ls-reason": "orders.csv:7: no date: soon"})
    loaded = quarantined("t:0:1:0", headers=told, reason="orders.csv:7: no date: soon")
    store.write_quarantine([loaded, quarantined("t:0:2:0")])
    done, refused = quarantine.retry(store, log.producer().produce, [], everything=True)
    assert (done, [row.id for row in refused]) == (1, ["t:0:1:0"])
    assert store.quarantine() == [loaded]
    assert len(stored(log)) == 1
    assert quarantine.retry(store, log.producer().produce, ["t:0:1:0"]) == (0, [loaded])


def test_what_was_forgotten_while_it_was_produced_is_not_written_back() -> None:
    store = MemoryStore()
    rows = [quarantined(f"t:0:{number}:0") for number in range(2)]
    store.write_quarantine(rows)
    erase = store.delete_quarantine
    assert quarantine.retry(store, lambda _: erase(["t:0:1:0"], erase=True), [], everything=True) == (2, [])
    assert [row.state for row in store.quarantine(["t:0:0:0", "t:0:1:0"])] == ["retried"]


def test_what_was_not_acknowledged_stays() -> None:
    store, log = MemoryStore(), MemoryLog()
    store.write_quarantine([quarantined()])
    produce = log.producer().produce
    log.broker.down = True
    with pytest.raises(Unavailable):
        quarantine.retry(store, produce, [], everything=True)
    assert [row.state for row in store.quarantine()] == ["kept"]


def test_bytes_that_are_no_text_are_shown() -> None:
    data = quarantine.data(quarantined(payload=b"\xff\x00{", key=b"\xfe"), payload=True)
    assert json.loads(json.dumps(data))["payload"] == "\\xff\x00{"
    assert data["bytes"] == 3


def test_damaged_headers_do_no_harm() -> None:
    assert quarantine.record_of(quarantined()._replace(headers="{cut")).headers == ()
