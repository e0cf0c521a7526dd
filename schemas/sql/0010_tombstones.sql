-- What stays of what has left: that a number was a transaction's, so that what arrives later is not taken for a new one.
CREATE TABLE IF NOT EXISTS tombstones{on_cluster}
(
    key_type LowCardinality(String),
    digest   String COMMENT 'the value, or a salted hash of it',
    kind     LowCardinality(String) COMMENT 'expired, forgotten or recycled',
    ended_at DateTime64(6, 'UTC'),
    until    DateTime64(6, 'UTC') COMMENT 'from when on it may go itself',
    at       DateTime64(6, 'UTC'),
    version  UInt64
)
ENGINE = {replacing}(version)
ORDER BY (key_type, digest)
SETTINGS index_granularity = 1024, {durable};

-- Events that came after their transaction's retention: recorded, never judged.
CREATE TABLE IF NOT EXISTS late_events{on_cluster}
(
    key_type       LowCardinality(String),
    transaction_id String,
    id             String,
    system         LowCardinality(String),
    step           LowCardinality(String),
    phase          LowCardinality(String),
    time           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source         LowCardinality(String),
    epoch          Int64 CODEC(Delta, ZSTD(1)),
    seq            Int64 CODEC(Delta, ZSTD(1)),
    via            String,
    body           String CODEC(ZSTD(1))
)
ENGINE = {replacing}
PRIMARY KEY (key_type, transaction_id)
ORDER BY (key_type, transaction_id, id, body, source, epoch, recorded_at, via)
SETTINGS index_granularity = 1024, {durable};
