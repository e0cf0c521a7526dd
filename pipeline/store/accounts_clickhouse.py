"""The audit's questions to ClickHouse. The numbers themselves stay there: what comes back are ranges."""
# ruff: noqa: S608  (what is put together here are constants of this module)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.store.accounts import AccountRow, NumberRange, Point, joined
from pipeline.store.client import Client
from pipeline.store.tables import ACCOUNTS
from pipeline.store.writer import bounded

# Parameters travel in the URL.
_POINTS_AT_ONCE = 500
_NAMED = "({source:String} = '' OR source = {source:String})"
_OF = f"{_NAMED} AND ({{epoch:Int64}} < 0 OR epoch = {{epoch:Int64}})"
# What was parked before version 9 was taken over without its number; there it is in the body alone.
_SEEN = """
    SELECT toString(source) AS source, epoch, 'stored' AS how, seq, recorded_at AS at FROM events WHERE {of} AND {numbered}
    UNION ALL SELECT toString(source), epoch, 'stored', seq, recorded_at FROM late_events WHERE {of} AND {numbered}
    UNION ALL SELECT toString(source), epoch, 'stored', seq, recorded_at FROM kept WHERE {of} AND {numbered}
    UNION ALL SELECT toString(source), epoch, 'stored', JSONExtractInt(body, 'seq'), recorded_at FROM parked WHERE {of}
    UNION ALL SELECT source, epoch, 'quarantined', arrayJoin(numbers), at FROM quarantine WHERE {of}"""
# A bitmap for every 65,536 numbers takes 8 KB at most and counts a number once, whatever the order and the number of copies; window
# functions over distinct numbers sorted 10M rows for the same answer.
_BLOCKS = f"""
    SELECT source, epoch, how, intDiv(seq, 65536) AS block,
        arraySort(arrayMap(number -> toInt64(number), bitmapToArray(groupBitmapState(toUInt32(seq % 65536))))) AS low
    FROM ({_SEEN.format(of=_OF, numbered="seq > 0")}) WHERE seq > 0 GROUP BY source, epoch, how, block"""
_RANGES = f"""
    SELECT source, epoch, how, arrayJoin(arrayMap(run -> (block * 65536 + run[1], block * 65536 + run[-1]),
        arraySplit((number, step) -> step > 1, low, arrayDifference(low)))) AS run
    FROM ({_BLOCKS})"""
# A range begins where none before it reaches.
_ACCOUNTS = f"""
    SELECT source, epoch, how, (min(first), max(last)) AS run FROM (
        SELECT source, epoch, how, first, last, sum(begins) OVER (PARTITION BY source, epoch, how ORDER BY first, last
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS island
        FROM (
            SELECT source, epoch, how, first, last, first > 1 + max(last) OVER (PARTITION BY source, epoch, how
                ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS begins
            FROM (SELECT DISTINCT source, epoch, toString(how) AS how, first, last FROM accounts
                WHERE last >= first AND {_OF})
        )
    ) GROUP BY source, epoch, how, island"""
NUMBERS = f"""SELECT source, epoch, how, run.1 AS begin, run.2 AS `end`
FROM ({_RANGES} UNION ALL {_ACCOUNTS}) ORDER BY source, epoch, how, begin, `end`"""
_WITHIN = (
    "({{begin:Int64}} = 0 OR {at} >= fromUnixTimestamp64Micro({{begin:Int64}}, 'UTC'))"
    " AND ({{end:Int64}} = 0 OR {at} < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC'))"
)
UNNUMBERED = f"""SELECT source, epoch, uniqExactIf(id, how = 'stored'), countIf(how = 'quarantined') FROM (
    SELECT toString(source) AS source, epoch, 'stored' AS how, sipHash64(id) AS id FROM events
        WHERE seq = 0 AND {_NAMED} AND {_WITHIN.format(at="recorded_at")}
    UNION ALL SELECT toString(source), epoch, 'stored', sipHash64(id) FROM late_events
        WHERE seq = 0 AND {_NAMED} AND {_WITHIN.format(at="recorded_at")}
    UNION ALL SELECT toString(source), epoch, 'stored', sipHash64(JSONExtractString(body, 'id')) FROM kept
        WHERE seq = 0 AND JSONExtractInt(body, 'seq') = 0 AND {_NAMED} AND {_WITHIN.format(at="recorded_at")}
    UNION ALL SELECT toString(source), epoch, 'stored', sipHash64(JSONExtractString(body, 'id')) FROM parked
        WHERE JSONExtractInt(body, 'seq') = 0 AND {_NAMED} AND {_WITHIN.format(at="recorded_at")}
    UNION ALL SELECT source, epoch, 'quarantined', 0 FROM quarantine FINAL
        WHERE empty(numbers) AND {_NAMED} AND {_WITHIN.format(at="at")}
) GROUP BY source, epoch"""
# By plain lists first: a tuple for each of 10M rows took 5 s where this takes 0.1.
_ASKED = _SEEN.format(of="source IN {sources:Array(String)}", numbered="seq IN {numbers:Array(Int64)}")
NUMBER_TIMES = f"""SELECT source, epoch, seq, min(at) FROM ({_ASKED}) WHERE (source, epoch, seq) IN (
    SELECT arrayJoin(arrayZip({{sources:Array(String)}}, {{epochs:Array(Int64)}}, {{numbers:Array(Int64)}}))
) GROUP BY source, epoch, seq"""


class ClickHouseAccounts:
    """``Accounts`` over a ``Client``."""

    _client: Client

    def write_accounts(self, rows: Sequence[AccountRow]) -> None:
        for chunk in bounded(rows):
            self._client.insert(ACCOUNTS, list(zip(*chunk, strict=True)))

    def numbers(self, source: str = "", epoch: int = -1) -> Iterator[NumberRange]:
        rows = self._client.stream(NUMBERS, {"source": source, "epoch": epoch})
        return joined(NumberRange(*row) for row in rows)

    def unnumbered(self, source: str = "", begin: int = 0, end: int = 0) -> Mapping[tuple[str, int], tuple[int, int]]:
        rows = self._client.rows(UNNUMBERED, {"source": source, "begin": begin, "end": end})
        return {(name, epoch): (stored, refused) for name, epoch, stored, refused in rows}

    def number_times(self, points: Sequence[Point]) -> Mapping[Point, int]:
        found: dict[Point, int] = {}
        asked = sorted(set(points))
        for start in range(0, len(asked), _POINTS_AT_ONCE):
            sources, epochs, numbers = zip(*asked[start : start + _POINTS_AT_ONCE], strict=True)
            parameters = {"sources": list(sources), "epochs": list(epochs), "numbers": list(numbers)}
            for name, epoch, number, at in self._client.rows(NUMBER_TIMES, parameters):
                found[name, epoch, number] = at
        return found
