-- Events kept under an alias, for claimants to come; by alias, as they are read. As in events, only equal rows merge. The table
-- ``parked`` of before was ordered by id; what it held is taken over, and nothing may stay there that nobody would find to erase.
CREATE TABLE IF NOT EXISTS kept{on_cluster}
(
    alias_type  LowCardinality(String),
    alias       String,
    id          String COMMENT 'event id and alias',
    `partition` UInt32,
    source      LowCardinality(String),
    epoch       Int64,
    seq         Int64,
    recorded_at DateTime64(6, 'UTC'),
    via         String,
    kept_at     DateTime64(6, 'UTC') COMMENT 'append time of the record that brought it',
    body        String CODEC(ZSTD(1))
)
ENGINE = {replacing}
PRIMARY KEY (alias_type, alias, id)
ORDER BY (alias_type, alias, id, body, source, epoch, seq, recorded_at, via, kept_at, `partition`)
SETTINGS index_granularity = 1024, {durable};

INSERT INTO kept
SELECT alias_type, alias, id, `partition`, source, epoch, JSONExtractInt(body, 'seq'), recorded_at, via, recorded_at, body FROM parked;

TRUNCATE TABLE parked{on_cluster};

-- Who claims an alias, and what people decided. Of one claim the greatest version counts; where one record says two things of it
-- (state and shared are in the key for that), the greater of them.
CREATE TABLE IF NOT EXISTS links{on_cluster}
(
    alias_type     LowCardinality(String),
    alias          String,
    key_type       LowCardinality(String),
    transaction_id String,
    `by`           String COMMENT 'the way by which the event that says so had come; (decision) for a person',
    at             Int64 COMMENT 'µs',
    shared         Bool,
    state          LowCardinality(String),
    version        UInt64
)
ENGINE = {replacing}(version)
PRIMARY KEY (alias_type, alias, key_type, transaction_id)
ORDER BY (alias_type, alias, key_type, transaction_id, `by`, at, state, shared)
SETTINGS index_granularity = 1024, {durable};

-- What a transaction has to know of an alias that it claims; all that was ever said stays, for later judges (law 7).
CREATE TABLE IF NOT EXISTS disputes{on_cluster}
(
    key_type       LowCardinality(String),
    transaction_id String,
    alias_type     LowCardinality(String),
    alias          String,
    state          LowCardinality(String),
    version        UInt64 COMMENT 'milliseconds << 22 | offset',
    others         Array(String),
    holders        String COMMENT 'JSON: [[transaction, µs], …]',
    way            String
)
ENGINE = {replacing}
PRIMARY KEY (key_type, transaction_id, alias_type, alias)
ORDER BY (key_type, transaction_id, alias_type, alias, version, state, others, holders, way)
SETTINGS index_granularity = 1024, {durable};
