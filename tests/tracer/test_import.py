"""`import tracer` alone needs neither pydantic nor anything else of ours, nor a client of a log that is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.tracer.support import REPOSITORY

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ImportError(name + ' is not here')
sys.meta_path.insert(0, Block())
"""
OURS = {"pydantic", "schemas", "pipeline", "collectors", "msgspec", "orjson", "yaml", "click", "sqlalchemy", "rich"}
USE = """
import tracer
from tracer.sinks.memory import MemoryBroker, MemorySink
broker = MemoryBroker()
tracer.init('shop', lambda: MemorySink(broker), spool='')
with tracer.transaction(order='10248') as order, order.step('placed'):
    tracer.inject({})
assert tracer.close(10), 'not acknowledged'
assert sum(len(partition.rows) for partition in broker.topics['lastseen.events']) == 1
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_application_is_instrumented_without_any_other_package_of_ours() -> None:
    run(f"BLOCKED = {OURS!r}" + BLOCK + USE)


def test_the_block_blocks() -> None:
    with pytest.raises(AssertionError, match="is not here"):
        run("BLOCKED = {'opentelemetry'}" + BLOCK + USE)


def test_kafka_sqlite_and_the_sdk_are_imported_where_they_are_used() -> None:
    rest = {"kafka", "sqlite3", "opentelemetry.sdk", "asyncio"}
    run(f"import sys, tracer; found = {rest!r} & set(sys.modules); assert not found, found")
    run("import sys, tracer; tracer.SpanProcessor; assert 'opentelemetry.sdk.trace' in sys.modules")


def test_spans_become_events_with_neither_pydantic_nor_the_sdk() -> None:
    code = "from tracer.spans import Rules, Span, events_of; assert events_of(Span('a', 'b', 'c', 1), Rules()) == []"
    run(f"BLOCKED = {OURS | {'grpc'}!r}" + BLOCK + code + "; assert 'opentelemetry.sdk' not in sys.modules")
