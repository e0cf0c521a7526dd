"""The tables' columns, in the order of the contract's rows, with the types in which they are sent.

Strings are sent plain where the table has LowCardinality: building a dictionary in Python costs more than sending the text, and
the server converts. Times are sent and read as the integers that they are (``DateTime64`` is µs in an Int64).
"""

from __future__ import annotations

from typing import NamedTuple

_TEXT = "String"
_TIME = "DateTime64(6, 'UTC')"


class Table(NamedTuple):
    """``columns``: names; ``types``: ClickHouse types as sent."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def select(self) -> str:
        """The columns for a SELECT."""
        return ", ".join(f"`{column}`" for column in self.columns)


def _table(name: str, columns: str, **types: str) -> Table:
    names = tuple(columns.split())
    return Table(name, names, tuple(types.get(column, _TEXT) for column in names))


EVENTS = _table(
    "events",
    "key_type transaction_id id system step phase time recorded_at source epoch seq via body",
    time=_TIME, recorded_at=_TIME, epoch="Int64", seq="Int64",
)  # fmt: skip
VERDICTS = _table(
    "verdicts",
    "key_type transaction_id flow flow_version partition version status open started_at last_at ended_at judged_at flip "
    "drop_kind drop_from drop_to drop_from_system drop_system drop_since drop_due findings value currency excluded waits body",
    flow_version="UInt32", partition="UInt32", version="UInt64", open="Bool", started_at=_TIME, last_at=_TIME, ended_at=_TIME,
    judged_at=_TIME, flip="UInt32", drop_since=_TIME, drop_due=_TIME, findings="Array(String)", value="Nullable(Float64)",
    excluded="Bool",
)  # fmt: skip
LATE = EVENTS._replace(name="late_events")
FLIPS = _table(
    "flips",
    "key_type transaction_id flow number version at before status drop_kind drop_from drop_to drop_system findings body",
    number="UInt32", version="UInt64", at=_TIME, findings="Array(String)",
)  # fmt: skip
KEYS = _table("keys", "key_type value transaction_type transaction_id seen_at", seen_at=_TIME)
KEPT = _table(
    "kept",
    "id alias_type alias partition source epoch seq recorded_at via kept_at body",
    partition="UInt32", epoch="Int64", seq="Int64", recorded_at=_TIME, kept_at=_TIME,
)  # fmt: skip
LINKS = _table(
    "links",
    "alias_type alias key_type transaction_id by at shared state version who why",
    at="Int64", shared="Bool", version="UInt64",
)  # fmt: skip
DISPUTES = _table(
    "disputes",
    "key_type transaction_id alias_type alias state version others holders way",
    version="UInt64", others="Array(String)",
)  # fmt: skip
TOMBSTONES = _table(
    "tombstones",
    "key_type digest kind ended_at until at version",
    ended_at=_TIME, until=_TIME, at=_TIME, version="UInt64",
)  # fmt: skip
QUARANTINE = _table(
    "quarantine",
    "id at source epoch reason field payload key headers state version numbers",
    at=_TIME, epoch="Int64", version="UInt64", numbers="Array(Int64)",
)  # fmt: skip
SOURCES = _table(
    "sources",
    "source epoch systems state since through settled last_record_at every skew sent shed updated_at position "
    "owed numbered shed_ranges blind",
    epoch="Int64", systems="Array(String)", since="Int64", through="Int64", settled="Int64", last_record_at="Int64",
    every="Int64", skew="Int64", sent="Int64", shed="Int64", updated_at="Int64", position="Int64",
    owed="Int64", numbered="Bool", shed_ranges="Array(Tuple(Int64, Int64))",
    blind="Array(Tuple(Int64, Int64))",
)  # fmt: skip
ACCOUNTS = _table("accounts", "source epoch first last how at", epoch="Int64", first="Int64", last="Int64", at=_TIME)
HEARING = _table(
    "hearing",
    "system kind source epoch number begin end detail known_at position",
    epoch="Int64", number="Int64", begin="Int64", end="Int64", known_at="Int64", position="Int64",
)  # fmt: skip
