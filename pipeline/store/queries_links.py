"""The questions of what is kept under aliases, of links and disputes, and of what leaves. As in ``queries``."""
# ruff: noqa: S608  (what is put together here are constants of this module and of tables.py)

from __future__ import annotations

from pipeline.core.correlate import BROKEN
from pipeline.store import tables
from pipeline.store.rows import CLAIMING
from schemas.event import GENERATION

_OF = "alias_type = {key_type:String} AND alias IN {ids:Array(String)}"
_HOME = "CRC32(concat({}, ':', {})) % {{of:UInt32}} IN {{partitions:Array(UInt32)}}"
# What a number's generations have in common (``pipeline.core.generations``).
NUMBER = f"splitByString('{GENERATION}', transaction_id)[1]"
_ALIAS_HOME = _HOME.format("alias_type", "alias")
LOAD_KEPT = f"SELECT {tables.KEPT.select} FROM kept WHERE {_OF}"
LOAD_LINKS = f"""SELECT {tables.LINKS.select} FROM links WHERE {_OF} ORDER BY version DESC, state DESC, shared DESC
LIMIT 1 BY alias_type, alias, key_type, transaction_id, `by`, at"""
LOAD_DISPUTES = f"""SELECT {tables.DISPUTES.select} FROM disputes
PREWHERE key_type = {{key_type:String}} AND transaction_id IN {{ids:Array(String)}}
WHERE {{as_of:Int64}} = 0 OR bitShiftRight(version, 22) <= intDiv({{as_of:Int64}}, 1000)"""
KNOWN_ALIASES = f"""SELECT DISTINCT alias_type, alias FROM kept WHERE {_ALIAS_HOME}
UNION ALL SELECT DISTINCT alias_type, alias FROM links WHERE {_ALIAS_HOME}"""

# Which row wins is worked out for those aliases alone of which anything else than a claim was ever said: for all it took 5 s with
# 3M links and 1M kept events. As sets of 128-bit hashes 0.9 s, as sets of text 3.
_HASH = "reinterpretAsUInt128(sipHash128(alias_type, alias))"
_DOUBTED = f"{_HASH} IN (SELECT {_HASH} FROM links WHERE state NOT IN {CLAIMING})"
_WAITING = f"""{_HASH} NOT IN (SELECT {_HASH} FROM links WHERE state IN {CLAIMING} AND NOT ({_DOUBTED}))
  AND {_HASH} NOT IN (
    SELECT {_HASH} FROM (
      SELECT alias_type, alias, key_type, transaction_id, argMax(state, (version, state, shared)) AS now
      FROM links WHERE {_DOUBTED} GROUP BY alias_type, alias, key_type, transaction_id, `by`, at)
    GROUP BY alias_type, alias, key_type, transaction_id
    HAVING countIf(now IN {CLAIMING}) > 0 AND countIf(now = '{BROKEN}') = 0)"""
_OLDEST = "kept_at, id, recorded_at, source, epoch, seq, body, via, `partition`"
PARKED = (
    f"SELECT {tables.KEPT.select} FROM kept WHERE {_WAITING} ORDER BY {_OLDEST} LIMIT 1 BY id LIMIT {{limit:UInt64}}"
)
COUNT_PARKED = f"SELECT uniqExact(id) FROM kept WHERE {_WAITING}"
SAMPLES = f"""SELECT {tables.KEPT.select} FROM (SELECT * FROM kept WHERE {_WAITING} ORDER BY {_OLDEST} LIMIT 1 BY id)
ORDER BY {_OLDEST} LIMIT {{limit:UInt64}} BY alias_type"""
UNLINKED = f"""SELECT alias_type, count(), uniqExact(alias), min(first), max(first),
    sumForEach(arrayMap(i -> toUInt64(i = arrayCount(age -> toUnixTimestamp64Micro(first) < age, {{ages:Array(Int64)}})),
        range(length({{ages:Array(Int64)}}) + 1)))
FROM (SELECT alias_type, alias, id, min(kept_at) AS first FROM kept WHERE {_WAITING} GROUP BY alias_type, alias, id)
GROUP BY alias_type ORDER BY alias_type"""

_BEFORE = "fromUnixTimestamp64Micro({before:Int64}, 'UTC')"
EXPIRED = f"""SELECT key_type, transaction_id FROM verdicts FINAL WHERE {_HOME.format("key_type", NUMBER)}
GROUP BY key_type, transaction_id
HAVING NOT max(open) AND max(ended_at) < {_BEFORE} AND min(ended_at) > fromUnixTimestamp64Micro(toInt64(0), 'UTC')
ORDER BY max(ended_at), key_type, transaction_id LIMIT {{limit:UInt64}}"""
COUNT_EXPIRED_KEPT = f"SELECT uniqExact(alias_type, alias, id) FROM kept WHERE kept_at < {_BEFORE}"
COUNT_EXPIRED_TOMBSTONES = f"SELECT count() FROM tombstones FINAL WHERE until < {_BEFORE}"
EXPIRED_KEPT = f"kept_at < {_BEFORE}"
EXPIRED_TOMBSTONES = f"until < {_BEFORE}"
LOAD_TOMBSTONES = f"""SELECT {tables.TOMBSTONES.select} FROM tombstones
WHERE key_type = {{key_type:String}} AND digest IN {{ids:Array(String)}} ORDER BY version DESC LIMIT 1 BY digest"""
COUNT_LATE = "SELECT uniqExact(key_type, transaction_id, id) FROM late_events"
LATE = """SELECT key_type, transaction_id, `body`, source, epoch, recorded_at, via FROM late_events
ORDER BY recorded_at DESC, key_type, transaction_id, id, source DESC, epoch DESC, seq DESC, via DESC, body DESC
LIMIT 1 BY key_type, transaction_id, id LIMIT {limit:UInt64}"""
