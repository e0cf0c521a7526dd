-- Bytes that made no event. Kept, counted, retryable: the row of the greatest version says which.
CREATE TABLE IF NOT EXISTS quarantine{on_cluster}
(
    id      String COMMENT 'topic:partition:offset:place',
    at      DateTime64(6, 'UTC'),
    source  String,
    epoch   Int64,
    reason  String,
    field   String,
    payload String CODEC(ZSTD(1)),
    key     String,
    headers String,
    state   LowCardinality(String),
    version UInt64
)
ENGINE = {replacing}(version)
ORDER BY id
SETTINGS index_granularity = 1024, {durable};
