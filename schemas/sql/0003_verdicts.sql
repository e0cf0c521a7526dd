-- The latest verdict per transaction and flow: the greatest version (fence << 32 | counter) wins, so a zombie always loses.
CREATE TABLE IF NOT EXISTS verdicts{on_cluster}
(
    key_type         LowCardinality(String),
    transaction_id   String,
    flow             LowCardinality(String),
    flow_version     UInt32,
    `partition`      UInt32,
    version          UInt64,
    status           LowCardinality(String),
    open             Bool,
    started_at       DateTime64(6, 'UTC'),
    last_at          DateTime64(6, 'UTC'),
    ended_at         DateTime64(6, 'UTC') COMMENT '1970 where there is no end yet; the same for the times below',
    judged_at        DateTime64(6, 'UTC') COMMENT 'control time',
    flip             UInt32,
    drop_kind        LowCardinality(String),
    drop_from        LowCardinality(String),
    drop_to          LowCardinality(String),
    drop_from_system LowCardinality(String),
    drop_system      LowCardinality(String),
    drop_since       DateTime64(6, 'UTC'),
    drop_due         DateTime64(6, 'UTC'),
    findings         Array(LowCardinality(String)),
    value            Nullable(Float64),
    currency         LowCardinality(String),
    excluded         Bool,
    waits            String COMMENT 'JSON: [[system, µs], …]',
    body             String CODEC(ZSTD(1))
)
ENGINE = {replacing}(version)
ORDER BY (key_type, transaction_id, flow)
SETTINGS index_granularity = 1024, {durable};
