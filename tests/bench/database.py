"""Millions of transactions made by the database itself: ``INSERT … SELECT`` from one that was really judged.

The model's number and times are cut out of every text that is stored of it (bodies, waits, keys) and put back for each number
that is wanted, so the rows are those that a worker would have written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.control import ControlFold
from pipeline.core.judge import judge
from pipeline.core.knowledge import knowledge_of
from pipeline.core.state import State
from pipeline.store.client import Client
from pipeline.store.contract import VerdictRow
from pipeline.store.tables import KEYS, VERDICTS
from pipeline.work.rows import row_of
from schemas.control import Partitions, Progress
from schemas.flow import Flows
from schemas.flow_file import load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import load_landscape
from schemas.wire import Observed, decode
from tests.bench.workload import Told, line, value_of

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
_NUMBER = 777_777_777
_TEXT = f"{_NUMBER:09d}"
_CUSTOMER = value_of("customer", _NUMBER)
_MARKS = re.compile(rf'{_CUSTOMER}|"seq":{_TEXT}|{_TEXT}|(?<!\d)\d{{16}}(?!\d)')
_MONTH = 30 * 24 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """One transaction of a story that begins at ``start`` µs, as the worker stores it."""

    start: int
    events: list[Observed]
    bodies: list[bytes]
    row: VerdictRow


def definitions() -> tuple[Flows, Landscape]:
    return load_flows([ROOT / "schemas" / "flows"]), load_landscape([ROOT / "schemas"])


def model(story: tuple[Told, ...], start: int, now: int, attributes: dict[str, object] | None = None) -> Model:
    """Judged as of ``now`` µs, when everything was processed."""
    flows, landscape = definitions()
    fold = ControlFold(landscape)
    fold.apply(0, now, Partitions(count=1))
    fold.apply(1, now, Progress(partition=0, fence=-1, position=0, through=now))
    bodies = [line(told, _NUMBER, start, _NUMBER * 100 + place, attributes) for place, told in enumerate(story)]
    events, _, bad = decode(b"\n".join(bodies))
    assert not bad, bad
    for event in events:
        event.recorded_at = event.time
    kind = story[0].keys[0]
    transaction = (kind, value_of(kind, _NUMBER))
    flow = flows.in_force(flows.by_key[kind][0], start)
    verdict = judge(State.of(*transaction, events, ("parcel",)), flow, knowledge_of(fold, flows), detail=False)
    row, _, speaks = row_of(transaction, verdict, 0, now, None)
    return Model(start, events, bodies, row._replace(flip=int(speaks)))


def fill(client: Client, model: Model, count: int, *, first: int = 0, every: int = 0) -> None:
    """``count`` transactions like the model, numbered from ``first``; each begins ``every`` µs after the one before."""
    numbers = (
        f"(SELECT number, leftPad(toString(number), 9, '0') AS id, toInt64({model.start} + (number - {first}) * {every}) AS t"
        f" FROM numbers({first}, {count}))"
    )
    kind, name = model.row.key_type, _sql(model.row.transaction_id, model)
    for place, (event, body) in enumerate(zip(model.events, model.bodies, strict=True)):
        at = _time(event.time, model)
        client.command(
            f"INSERT INTO events SELECT '{kind}', {name}, {_sql(event.id, model)}, '{event.system}', '{event.step}',"
            f" '{event.phase}', {at}, {at}, '{event.source}', {event.epoch}, (number + 1) * 100 + {place}, '',"
            f" {_sql(body.decode(), model)} FROM {numbers}"
        )
    client.command(f"INSERT INTO verdicts ({VERDICTS.select}) SELECT {_verdict(model)} FROM {numbers}")
    for type_, value in _keys(model):
        client.command(
            f"INSERT INTO keys ({KEYS.select}) SELECT '{type_}', {value}, '{kind}', {name},"
            f" {_time(model.start, model)} FROM {numbers}"
        )


def _keys(model: Model) -> list[tuple[str, str]]:
    """(key type, SQL of the value)."""
    found = {pair: None for event in model.events for pair in event.keys.items()}
    return [(name, _sql(value, model)) for name, value in found]


def _verdict(model: Model) -> str:
    """The verdict row as SQL, a column each."""
    from pipeline.store.writer import _encode

    columns = []
    for name, type_ in zip(VERDICTS.columns, VERDICTS.types, strict=True):
        value = getattr(model.row, name)
        if name == "partition":
            columns.append(
                f"CRC32(concat('{model.row.key_type}:', {_sql(model.row.transaction_id, model)})) % {PARTITIONS}"
            )
        elif name == "version":
            columns.append("1")
        elif name == "waits":
            columns.append(_sql(_encode(value).decode() if value else "", model))
        elif type_.startswith("DateTime64"):
            columns.append(_time(value, model))
        elif type_.startswith("Array"):
            columns.append("[" + ", ".join(f"'{one}'" for one in value) + "]::Array(String)")
        elif value is None:
            columns.append("NULL")
        elif isinstance(value, str):
            columns.append(_sql(value, model))
        else:
            columns.append(str(value))
    return ", ".join(columns)


def _time(at: int, model: Model) -> str:
    shifted = f"t + {at - model.start}" if at and name_of(at, model) else str(at)
    return f"fromUnixTimestamp64Micro(toInt64({shifted}), 'UTC')"


def name_of(at: int, model: Model) -> bool:
    """Whether this is a time of the transaction's own, which moves with its beginning."""
    return abs(at - model.start) < 12 * _MONTH


def _sql(text: str, model: Model) -> str:
    """``text`` with the model's number and times replaced by the row's."""
    pieces, at = [], 0
    for mark in _MARKS.finditer(text):
        pieces.append(_quoted(text[at : mark.start()]))
        found = mark.group()
        if found == _TEXT:
            pieces.append("id")
        elif found == _CUSTOMER:
            pieces.append("concat('C', leftPad(toString(number % 50000), 6, '0'))")
        elif found.startswith('"seq"'):
            # A number in JSON begins with no zero.
            pieces.append("'\"seq\":', toString(number + 1)")
        elif name_of(int(found), model):
            pieces.append(f"toString(t + {int(found) - model.start})")
        else:
            pieces.append(_quoted(found))
        at = mark.end()
    pieces.append(_quoted(text[at:]))
    kept = [piece for piece in pieces if piece != "''"]
    return f"concat({', '.join(kept)}, '')" if kept else "''"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
