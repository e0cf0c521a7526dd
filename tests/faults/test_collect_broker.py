"""A collector whose Kafka is really stopped: what is written meanwhile waits in its files, memory stays bounded, and when it is
back everything is there once (ten minutes of it, by the clock, are in tests/collectors/test_collecting.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from schemas.control import Goodbye
from tests.faults.collecting import Collector, line
from tests.faults.real import until
from tests.faults.test_real_broker import started
from tests.kafka_broker import Broker

MB = 1 << 20


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with ExitStack() as stack:
        made = Broker(tmp_path_factory.mktemp("kafka"), heap="256m")
        stack.enter_context(started(made))
        yield made


def test_a_broker_that_is_away(broker: Broker, tmp_path: Path) -> None:
    collector = Collector(tmp_path, f"kafka://{broker.address}/?session_timeout_ms=6000&prefix=a.")
    try:
        assert collector.log.partitions() > 0
        collector.app.write_text("".join(line(number) for number in range(1, 1001)))
        collector.begin()
        collector.until_all(1000)
        before = collector.memory()
        broker.kill()
        number = 1000
        with collector.app.open("a") as stream:
            for _ in range(8):  # more than it may have under way
                stream.write("".join(line(number + each) for each in range(1, 6001)))
                stream.flush()
                number += 6000
                time.sleep(0.05)
        time.sleep(1.0)  # it goes on asking
        assert collector.process is not None
        assert collector.process.poll() is None, collector.said()
        held = collector.memory() - before
        assert held < 150 * MB, f"{held / MB:.0f} MB"
        broker.start()
        collector.until_all(number)
        assert collector.stop() == 0, collector.said()
        assert collector.orders() == [str(each) for each in range(1, number + 1)]
        assert collector.aside == 0
        goodbyes = [record for record in collector.control() if isinstance(record, Goodbye)]
        assert [goodbye.sent for goodbye in goodbyes] == [number]
    finally:
        collector.close()


def test_stopped_while_the_broker_is_away_says_so_and_reads_again(broker: Broker, tmp_path: Path) -> None:
    collector = Collector(tmp_path, f"kafka://{broker.address}/?session_timeout_ms=6000&prefix=b.")
    try:
        assert collector.log.partitions() > 0
        collector.app.write_text(line(1))
        collector.begin()
        collector.until_all(1)
        until(lambda: (collector.positions / "shop-log.json").exists())
        broker.kill()
        with collector.app.open("a") as stream:
            stream.write(line(2))
        time.sleep(0.5)
        assert collector.stop() == 3, collector.said()  # a service is out of reach
        assert "Traceback" not in collector.said()
        broker.start()
        collector.begin()
        collector.until_all(2)
        assert collector.stop() == 0
        assert collector.orders() == ["1", "2"]
    finally:
        collector.close()
