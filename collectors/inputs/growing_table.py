"""Tables that grow: rows are read in the order of a column that only grows, from the last value that was acknowledged on.

The growing column (a sequence, an insertion time) is not always in the order of commits: a row with a lower value may become
visible after one with a higher. ``overlap`` reads that much again each time; rows that were read before make the same ids. What is
changed in a row that was read is not seen again; a growing ``updated_at`` reads the row again, and with a ``key`` only what is new
makes events.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar

import sqlalchemy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from collectors.inputs.live import Context, Parcel, Placed
from collectors.inputs.record import Row
from collectors.inputs.table import engine_of, source_url, told
from collectors.mapping import only_read, text_of
from schemas.errors import Invalid
from schemas.flow import Duration
from schemas.times import SECOND

_ROWS = 1000


def _select(query: str) -> str:
    only_read(query)
    return query


class GrowingTableInput(BaseModel):
    """A table or query of a database.

    ``url``: SQLAlchemy's, without a password, which comes from ``LASTSEEN_SOURCE_PASSWORD``. ``growing``: the column by which rows
    are read on; a row where it is empty is never read. ``start``: value after which the first run begins; all rows where there is
    none. ``overlap``: how much is read again each time, a number or, for a column of times, a duration. ``every``: µs between two
    readings while nothing comes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    vouches: ClassVar[bool] = True

    url: Annotated[str, Field(min_length=1, max_length=2000)]
    table: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    query: Annotated[str, AfterValidator(_select), Field(max_length=20_000)] | None = None
    growing: Annotated[str, Field(min_length=1, max_length=200)]
    start: int | str | None = None
    overlap: Annotated[int, Field(ge=0)] | Duration = 0
    every: Duration = 2 * SECOND

    @model_validator(mode="after")
    def _one(self) -> GrowingTableInput:
        if (self.table is None) == (self.query is None):
            raise ValueError("exactly one of table and query is needed")
        return self

    def open(self, context: Context) -> LiveTable:
        return LiveTable(self, context)


class LiveTable:
    """One table at work."""

    def __init__(self, spec: GrowingTableInput, context: Context):
        """Raises ``Invalid`` where URL or driver are wrong. The database may be away: that is found when it is asked."""
        url = source_url(spec.url, context.env)
        self._engine: Engine = engine_of(url, context.base)
        place = spec.table or f"query by {spec.growing}"
        self.name = f"{url.database or url.host or url.drivername}:{place}"
        self._spec, self._context = spec, context
        self._stream = place
        self._after = _restored(context.positions.get(self._stream))
        self._connection: Connection | None = None
        self._rows: Any = None
        self._columns: tuple[str, ...] = ()
        self._asked = 0  # µs, when the reading in hand was begun
        self._next = 0
        self._read = 0
        self._through: int | None = None
        self._finished = False
        self._seen: dict[str, None] = {}

    @property
    def continuous(self) -> bool:
        """A table keeps its rows: where the last run had a position, this one goes on from it."""
        return self._after is not None

    def poll(self, timeout: float) -> list[Parcel]:
        now = self._context.clock()
        if self._finished:
            return []
        if self._rows is None and now < self._next:
            if timeout > 0:
                time.sleep(min(timeout, (self._next - now) / SECOND))
            return []
        try:
            if self._rows is None:
                self._asked = now
                self._ask()
            rows = self._rows.fetchmany(_ROWS)
        except SQLAlchemyError as error:
            self._let_go()
            raise told(error, self.name) from None
        if len(rows) < _ROWS:
            self._let_go()
            self._next = now + self._spec.every
            self._through = self._asked
            self._finished = self._context.once
        return self._parcels([dict(zip(self._columns, row, strict=True)) for row in rows])

    def _ask(self) -> None:
        spec = self._spec
        self._connection = self._engine.connect().execution_options(stream_results=True)
        column: Any = sqlalchemy.column(spec.growing)
        if spec.table is not None:
            schema, _, name = spec.table.rpartition(".")
            source: Any = sqlalchemy.table(name, schema=schema or None)
        else:
            # A literal of the query may hold :name, which text() would read as a parameter.
            text = (spec.query or "").strip().rstrip(";").replace(":", r"\:")
            source = sqlalchemy.text(f"({text}) AS lastseen_source")
        statement = (
            sqlalchemy.select(sqlalchemy.text("*")).select_from(source).where(column.is_not(None)).order_by(column)
        )
        begin = self._begin()
        if begin is not None:
            statement = statement.where(column >= begin if self._after is not None else column > begin)
        result = self._connection.execute(statement)
        self._columns = tuple(result.keys())
        if spec.growing not in self._columns:
            raise Invalid(f"has no column {spec.growing!r}; it has {', '.join(self._columns[:40])}", file=self.name)
        self._rows = result

    def _begin(self) -> Any:
        """Where reading begins: at the last value, not after it, for several rows may have it."""
        if self._after is None:
            return self._spec.start
        overlap = self._spec.overlap
        if not overlap:
            return self._after
        if isinstance(self._after, datetime):
            return self._after - timedelta(microseconds=overlap)
        return self._after - overlap if isinstance(self._after, (int, float, Decimal)) else self._after

    def _parcels(self, rows: list[dict[str, Any]]) -> list[Parcel]:
        items, last = [], None
        for row in rows:
            value = row[self._spec.growing]
            place = self._place(row, value)
            if place in self._seen:
                continue  # of the overlap, read in this run already
            self._remember(place)
            self._read += 1
            items.append(Placed(place, Row(self._read, row)))
            last = value
        if not items:
            return []
        # Texts are in the database's order, which is not ours: the last one is the greatest.
        if self._after is None or isinstance(last, str) or last > self._after:
            self._after = last
        position = _saved(self._after)

        def settle(error: Exception | None) -> None:
            if error is None:
                self._context.positions.put(self._stream, position)

        return [Parcel(self._stream, items, self.name, settle=settle)]

    def _place(self, row: Mapping[str, Any], value: Any) -> str:
        """The growing value, and which of the rows that have it: by all its columns."""
        digest = _digest(row)
        return f"{_text(value)}-{digest}"

    def _remember(self, place: str) -> None:
        self._seen[place] = None
        if len(self._seen) > 100_000:
            for old in list(self._seen)[:10_000]:
                del self._seen[old]

    def _let_go(self) -> None:
        self._rows = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def through(self) -> int | None:
        return self._through

    @property
    def finished(self) -> bool:
        return self._finished

    def close(self) -> None:
        self._let_go()
        self._engine.dispose()


def _digest(row: Mapping[str, Any]) -> str:
    said = repr([(name, _text(value)) for name, value in sorted(row.items())])
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _text(value: Any) -> str:
    try:
        return text_of(value)
    except ValueError:
        return repr(value)


def _saved(value: Any) -> dict[str, Any]:
    if isinstance(value, (datetime, date)):
        return {"time" if isinstance(value, datetime) else "date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    return {"value": value if isinstance(value, (int, float)) else str(value)}


def _restored(position: Mapping[str, Any] | None) -> Any:
    if not position:
        return None
    ((kind, value),) = position.items()
    if kind == "time":
        return datetime.fromisoformat(value)
    if kind == "date":
        return date.fromisoformat(value)
    return Decimal(value) if kind == "decimal" else value
