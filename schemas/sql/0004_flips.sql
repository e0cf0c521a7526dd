-- What was said when. The number rides in the verdict's row, so a replay overwrites its own.
CREATE TABLE IF NOT EXISTS flips{on_cluster}
(
    key_type       LowCardinality(String),
    transaction_id String,
    flow           LowCardinality(String),
    number         UInt32,
    version        UInt64,
    at             DateTime64(6, 'UTC') COMMENT 'control time',
    before         LowCardinality(String),
    status         LowCardinality(String),
    drop_kind      LowCardinality(String),
    drop_from      LowCardinality(String),
    drop_to        LowCardinality(String),
    drop_system    LowCardinality(String),
    findings       Array(LowCardinality(String)),
    body           String CODEC(ZSTD(1))
)
ENGINE = {replacing}(version)
ORDER BY (key_type, transaction_id, flow, number)
SETTINGS index_granularity = 1024, {durable};
