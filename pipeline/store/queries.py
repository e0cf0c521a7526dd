"""The questions asked of ClickHouse: constant SQL; what is asked for is bound by the server as ``{name:Type}``.

The winner is taken in every query (``FINAL`` or ``LIMIT 1 BY``): nothing trusts that a merge has run. The fast ways to skip
``FINAL`` (``do_not_merge_across_partitions_select_final``, inexact skip indexes) gave wrong answers.
"""
# ruff: noqa: S608  (what is put together here are constants of this module and of tables.py)

from __future__ import annotations

from pipeline.store import tables
from schemas.event import GENERATION


def _at(name: str) -> str:
    return f"fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"


# For a handful of rows: beside a busy writer two threads took 15 ms where one took 8.
BY_ONE = " SETTINGS max_threads = 1"
# A lookup costs the engine planning, not reading: 0.05 ms a column, 0.15 for working out where to filter (hence PREWHERE), 1 for a
# GROUP BY or a LIMIT BY. So of what is read by transaction every row is taken, and the winner among a handful by us (``rows``).
_OF = "key_type = {key_type:String} AND transaction_id IN {ids:Array(String)}"
LOAD_EVENTS = f"SELECT transaction_id, `body`, source, epoch, recorded_at, via FROM {tables.EVENTS.name} PREWHERE {_OF}"
# A transaction may have a million events. Past so many rows they are read in pages, by id, as they are ordered in the table.
EVENTS_AT_ONCE = 50_000
FEW_EVENTS = f"{LOAD_EVENTS} LIMIT {EVENTS_AT_ONCE + 1}"
EVENTS_PAGE = f"""SELECT transaction_id, `body`, source, epoch, recorded_at, via, id FROM {tables.EVENTS.name}
WHERE key_type = {{key_type:String}} AND transaction_id = {{one:String}} AND id > {{after:String}}
ORDER BY id LIMIT {EVENTS_AT_ONCE} WITH TIES"""
COUNT_EVENTS = (
    "SELECT count() FROM (SELECT 1 FROM events GROUP BY key_type, transaction_id, id)"
    " SETTINGS optimize_aggregation_in_order = 1"
)
LOAD_VERDICTS = f"SELECT {tables.VERDICTS.select} FROM verdicts PREWHERE {_OF}"
_MATCHING = f"""(empty({{statuses:Array(String)}}) OR status IN {{statuses:Array(String)}})
  AND (empty({{flows:Array(String)}}) OR flow IN {{flows:Array(String)}})
  AND ({{from:Int64}} = 0 OR started_at >= {_at("from")})
  AND ({{to:Int64}} = 0 OR started_at < {_at("to")})
  AND ({{drop_from:String}} = '' OR drop_from = {{drop_from:String}} OR drop_from_system = {{drop_from:String}})
  AND ({{drop_to:String}} = '' OR drop_to = {{drop_to:String}} OR drop_system = {{drop_to:String}})
  AND (empty({{findings:Array(String)}}) OR hasAny(findings, {{findings:Array(String)}}))
  AND ({{excluded:Int8}} < 0 OR excluded = {{excluded:Int8}})"""
VERDICTS = f"""SELECT {tables.VERDICTS.select} FROM verdicts FINAL WHERE {_MATCHING}
ORDER BY started_at DESC, key_type, transaction_id, flow"""
COUNT = f"SELECT count() FROM verdicts FINAL WHERE {_MATCHING}"
COUNT_VERDICTS = (
    "SELECT flow, if(excluded, 'excluded', toString(status)) AS said, count() FROM verdicts FINAL GROUP BY flow, said"
)
# As ``rows.home`` works it out: both are zlib's CRC-32 over UTF-8.
# All generations of a number (``pipeline.core.generations``) live in one partition.
_NUMBER = f"splitByString('{GENERATION}', transaction_id)[1]"
_HOME = f"CRC32(concat(key_type, ':', {_NUMBER})) % {{of:UInt32}} IN {{partitions:Array(UInt32)}}"
OPEN = f"SELECT {tables.VERDICTS.select} FROM verdicts FINAL WHERE open AND {_HOME}"
KNOWN = f"SELECT key_type, transaction_id FROM verdicts WHERE {_HOME}"
# Stores of before have a row for each partition by its number.
UNJUDGED = f"""SELECT key_type, transaction_id FROM (
    SELECT transaction_type AS key_type, transaction_id FROM keys
    WHERE (value = {{unjudged:String}} OR startsWith(value, 'partition ')) AND keys.key_type = {{unjudged:String}}
) WHERE {_HOME}"""
_KEYS = "SELECT key_type, value, transaction_type, transaction_id, seen_at"
FIND_KEYS = f"""{_KEYS} FROM {tables.KEYS.name}
PREWHERE value IN {{values:Array(String)}} AND ({{key_type:String}} = '' OR key_type = {{key_type:String}})"""
KEYS_OF = f"""{_KEYS} FROM keys_by_transaction
PREWHERE transaction_type = {{key_type:String}} AND transaction_id IN {{ids:Array(String)}}"""
FLIPS = f"SELECT {tables.FLIPS.select} FROM flips PREWHERE {_OF}"
LAST_FLIPS = (
    f"SELECT transaction_id, flow, argMax(flip, version) FROM verdicts PREWHERE {_OF} GROUP BY transaction_id, flow"
)
FLIPS_BETWEEN = (
    f"SELECT {tables.FLIPS.select} FROM flips FINAL WHERE at >= {_at('begin')} AND at < {_at('end')}"
    " ORDER BY at, key_type, transaction_id, flow, number"
)
MISSING_AT = f"""SELECT {tables.FLIPS.select} FROM flips FINAL
WHERE (key_type, transaction_id, flow, number) IN (
    SELECT key_type, transaction_id, flow, max(number) FROM flips FINAL WHERE at <= {_at("at")}
    GROUP BY key_type, transaction_id, flow HAVING argMax(status, number) IN {{statuses:Array(String)}})"""
SOURCES = f"SELECT {tables.SOURCES.select} FROM sources FINAL"
_LATEST_OF_EACH = """ORDER BY system, kind, source, epoch, number, known_at DESC, position DESC
LIMIT 1 BY system, kind, source, epoch, number"""
HEARING = f"SELECT {tables.HEARING.select} FROM hearing_now {_LATEST_OF_EACH}"
HEARING_THEN = f"""SELECT {tables.HEARING.select} FROM hearing WHERE known_at <= {{as_of:Int64}}
{_LATEST_OF_EACH}"""
QUARANTINE = f"""SELECT {tables.QUARANTINE.select} FROM quarantine FINAL
WHERE if(empty({{ids:Array(String)}}), state = 'kept', id IN {{ids:Array(String)}})
  AND ({{source:String}} = '' OR source = {{source:String}})
ORDER BY at DESC, id LIMIT {{limit:UInt64}}"""
COUNT_QUARANTINE = "SELECT source, reason, count() FROM quarantine FINAL WHERE state = 'kept' GROUP BY source, reason"
