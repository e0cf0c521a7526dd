-- Events that name no transaction and wait for a link. As in events, only equal rows merge.
CREATE TABLE IF NOT EXISTS parked{on_cluster}
(
    id          String COMMENT 'event id and alias',
    alias_type  LowCardinality(String),
    alias       String,
    `partition` UInt32,
    source      LowCardinality(String),
    epoch       Int64,
    recorded_at DateTime64(6, 'UTC'),
    via         String,
    body        String CODEC(ZSTD(1))
)
ENGINE = {replacing}
PRIMARY KEY id
ORDER BY (id, body, source, epoch, recorded_at, via, `partition`, alias_type, alias)
SETTINGS index_granularity = 1024, {durable};
