"""What several suites share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tables are laid out for the terminal's width, and a run without a terminal has none of its own.
os.environ["COLUMNS"] = "100"

from tests.kafka_broker import NoBroker, shared_broker

_TESTS = Path(__file__).parent
_LONG = ("faults", "bench", "simulate", "laws", "cli", "simulation", "peers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with long files first: the processes that share the files then end together. Sorting keeps the order within each."""
    folders = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: folders.get(item.path.relative_to(_TESTS).parts[0], len(_LONG)))


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[dict[str, str]]:
    """The run's Kafka: ``address``, and where it is ours ``sasl``, ``tls``, ``ca``.

    Without one, the tests that need it are skipped on a laptop and fail in CI.
    """
    base = tmp_path_factory.getbasetemp()
    folder = base if worker_id == "master" else base.parent
    try:
        with shared_broker(folder) as found:
            yield found
    except NoBroker as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Kafka: {reason}")
        pytest.skip(f"no Kafka: {reason}")


@pytest.fixture
def kafka(kafka_broker: dict[str, str]) -> str:
    """The URL of a Kafka log of this test's own: topics and groups under a prefix that nobody else has."""
    return f"kafka://{kafka_broker['address']}/?prefix=t{uuid.uuid4().hex[:12]}.&session_timeout_ms=6000"
