-- The tables of schemas/sql with Replicated engines, for every node of a cluster. Not tested here: chDB refuses these
-- engines. Generated (python -m pipeline.store.migrate > deploy/clickhouse/cluster.sql), do not edit; `lastseen setup`
-- runs the same where LASTSEEN_STORE ends in ?cluster=lastseen. See README.md beside this file.
CREATE DATABASE IF NOT EXISTS `lastseen` ON CLUSTER `lastseen`;
USE `lastseen`;

-- 0001_migrations
CREATE TABLE IF NOT EXISTS migrations ON CLUSTER `lastseen`
(
    name       String,
    digest     String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplicatedReplacingMergeTree
ORDER BY (name, digest)
SETTINGS fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0002_events
CREATE TABLE IF NOT EXISTS events ON CLUSTER `lastseen`
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
    seq            Int64 CODEC(Delta, ZSTD(1)) COMMENT 'running number within source and epoch, from 1; the audit counts by it',
    via            String COMMENT 'alias (type:value) by which a copy came',
    body           String CODEC(ZSTD(1)) COMMENT 'the event as received, JSON'
)
ENGINE = ReplicatedReplacingMergeTree
PRIMARY KEY (key_type, transaction_id)
ORDER BY (key_type, transaction_id, id, body, source, epoch, recorded_at, via)
SETTINGS index_granularity = 256, min_compress_block_size = 16384, fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0003_verdicts
CREATE TABLE IF NOT EXISTS verdicts ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree(version)
ORDER BY (key_type, transaction_id, flow)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0004_flips
CREATE TABLE IF NOT EXISTS flips ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree(version)
ORDER BY (key_type, transaction_id, flow, number)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0005_keys
CREATE TABLE IF NOT EXISTS keys ON CLUSTER `lastseen`
(
    key_type         LowCardinality(String),
    value            String,
    transaction_type LowCardinality(String),
    transaction_id   String,
    seen_at          SimpleAggregateFunction(min, DateTime64(6, 'UTC'))
)
ENGINE = ReplicatedAggregatingMergeTree
ORDER BY (value, key_type, transaction_type, transaction_id)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;
CREATE TABLE IF NOT EXISTS keys_by_transaction ON CLUSTER `lastseen`
(
    key_type         LowCardinality(String),
    value            String,
    transaction_type LowCardinality(String),
    transaction_id   String,
    seen_at          SimpleAggregateFunction(min, DateTime64(6, 'UTC'))
)
ENGINE = ReplicatedAggregatingMergeTree
ORDER BY (transaction_type, transaction_id, key_type, value)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;
CREATE MATERIALIZED VIEW IF NOT EXISTS keys_to_transaction ON CLUSTER `lastseen` TO keys_by_transaction AS
SELECT key_type, value, transaction_type, transaction_id, seen_at FROM keys;

-- 0006_parked
CREATE TABLE IF NOT EXISTS parked ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree
PRIMARY KEY id
ORDER BY (id, body, source, epoch, recorded_at, via, `partition`, alias_type, alias)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0007_quarantine
CREATE TABLE IF NOT EXISTS quarantine ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree(version)
ORDER BY id
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0008_hearing
CREATE TABLE IF NOT EXISTS sources ON CLUSTER `lastseen`
(
    source         String,
    epoch          Int64,
    systems        Array(String),
    state          LowCardinality(String),
    since          Int64 COMMENT 'µs',
    through        Int64 COMMENT 'µs',
    settled        Int64 COMMENT 'µs',
    last_record_at Int64 COMMENT 'µs',
    every          Int64 COMMENT 'µs',
    skew           Int64 COMMENT 'µs',
    sent           Int64,
    shed           Int64,
    updated_at     Int64 COMMENT 'µs, control time',
    position       Int64 COMMENT 'offset in control',
    version        UInt128 MATERIALIZED bitShiftLeft(toUInt128(greatest(updated_at, 0)), 64) + toUInt64(greatest(position, 0))
)
ENGINE = ReplicatedReplacingMergeTree(version)
ORDER BY (source, epoch)
SETTINGS fsync_after_insert = 1, replicated_deduplication_window = 0;
CREATE TABLE IF NOT EXISTS hearing ON CLUSTER `lastseen`
(
    system   String,
    kind     LowCardinality(String),
    source   String,
    epoch    Int64,
    number   Int64,
    begin    Int64 COMMENT 'µs',
    `end`    Int64 COMMENT 'µs',
    detail   String,
    known_at Int64 COMMENT 'µs, control time',
    position Int64 COMMENT 'offset in control'
)
ENGINE = ReplicatedReplacingMergeTree
ORDER BY (system, kind, source, epoch, number, known_at, position)
SETTINGS fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0009_links
CREATE TABLE IF NOT EXISTS kept ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree
PRIMARY KEY (alias_type, alias, id)
ORDER BY (alias_type, alias, id, body, source, epoch, seq, recorded_at, via, kept_at, `partition`)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;
INSERT INTO kept
SELECT alias_type, alias, id, `partition`, source, epoch, JSONExtractInt(body, 'seq'), recorded_at, via, recorded_at, body FROM parked;
TRUNCATE TABLE parked ON CLUSTER `lastseen`;
CREATE TABLE IF NOT EXISTS links ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree(version)
PRIMARY KEY (alias_type, alias, key_type, transaction_id)
ORDER BY (alias_type, alias, key_type, transaction_id, `by`, at, state, shared)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;
CREATE TABLE IF NOT EXISTS disputes ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree
PRIMARY KEY (key_type, transaction_id, alias_type, alias)
ORDER BY (key_type, transaction_id, alias_type, alias, version, state, others, holders, way)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0010_tombstones
CREATE TABLE IF NOT EXISTS tombstones ON CLUSTER `lastseen`
(
    key_type LowCardinality(String),
    digest   String COMMENT 'the value, or a salted hash of it',
    kind     LowCardinality(String) COMMENT 'expired, forgotten or recycled',
    ended_at DateTime64(6, 'UTC'),
    until    DateTime64(6, 'UTC') COMMENT 'from when on it may go itself',
    at       DateTime64(6, 'UTC'),
    version  UInt64
)
ENGINE = ReplicatedReplacingMergeTree(version)
ORDER BY (key_type, digest)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;
CREATE TABLE IF NOT EXISTS late_events ON CLUSTER `lastseen`
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
ENGINE = ReplicatedReplacingMergeTree
PRIMARY KEY (key_type, transaction_id)
ORDER BY (key_type, transaction_id, id, body, source, epoch, recorded_at, via)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, replicated_deduplication_window = 0;

-- 0011_audit
CREATE TABLE IF NOT EXISTS accounts ON CLUSTER `lastseen`
(
    source String,
    epoch  Int64,
    how    LowCardinality(String) COMMENT 'expired, forgotten, repeated: the same observation is stored under another number',
    first  Int64,
    last   Int64 COMMENT 'included',
    at     DateTime64(6, 'UTC') COMMENT 'when that was found'
)
ENGINE = ReplicatedReplacingMergeTree
ORDER BY (source, epoch, how, first, last)
SETTINGS fsync_after_insert = 1, replicated_deduplication_window = 0;
ALTER TABLE quarantine ON CLUSTER `lastseen` ADD COLUMN IF NOT EXISTS numbers Array(Int64) CODEC(Delta, ZSTD(1)) COMMENT 'running numbers';
ALTER TABLE sources ON CLUSTER `lastseen`
    ADD COLUMN IF NOT EXISTS owed Int64 COMMENT 'every running number up to it must be found: settled',
    ADD COLUMN IF NOT EXISTS numbered Bool COMMENT 'the source says so itself; else it is what it says it sent',
    ADD COLUMN IF NOT EXISTS shed_ranges Array(Tuple(Int64, Int64)) COMMENT 'running numbers: first, last';

-- 0012_decisions
ALTER TABLE links ON CLUSTER `lastseen`
    ADD COLUMN IF NOT EXISTS who String COMMENT 'of a decision',
    ADD COLUMN IF NOT EXISTS why String COMMENT 'of a decision' CODEC(ZSTD(1));

-- 0013_blind
ALTER TABLE sources ON CLUSTER `lastseen`
    ADD COLUMN IF NOT EXISTS blind Array(Tuple(Int64, Int64)) COMMENT 'µs, begin and end; the end is 2^62 while it lasts';

-- 0014_compact
ALTER TABLE verdicts ON CLUSTER `lastseen` MODIFY SETTING min_bytes_for_wide_part = 1073741824;
ALTER TABLE flips ON CLUSTER `lastseen` MODIFY SETTING min_bytes_for_wide_part = 1073741824;
ALTER TABLE keys ON CLUSTER `lastseen` MODIFY SETTING min_bytes_for_wide_part = 1073741824;
ALTER TABLE keys_by_transaction ON CLUSTER `lastseen` MODIFY SETTING min_bytes_for_wide_part = 1073741824;

-- 0015_hearing_now
CREATE TABLE IF NOT EXISTS hearing_now ON CLUSTER `lastseen`
(
    system   String,
    kind     LowCardinality(String),
    source   String,
    epoch    Int64,
    number   Int64,
    begin    Int64 COMMENT 'µs',
    `end`    Int64 COMMENT 'µs',
    detail   String,
    known_at Int64 COMMENT 'µs, control time',
    position Int64 COMMENT 'offset in control',
    version  UInt128 MATERIALIZED bitShiftLeft(toUInt128(greatest(known_at, 0)), 64) + toUInt64(greatest(position, 0))
)
ENGINE = ReplicatedReplacingMergeTree(version)
ORDER BY (system, kind, source, epoch, number)
SETTINGS fsync_after_insert = 1, replicated_deduplication_window = 0;
CREATE MATERIALIZED VIEW IF NOT EXISTS hearing_to_now ON CLUSTER `lastseen` TO hearing_now AS
SELECT system, kind, source, epoch, number, begin, `end`, detail, known_at, position FROM hearing;
INSERT INTO hearing_now (system, kind, source, epoch, number, begin, `end`, detail, known_at, position)
SELECT system, kind, source, epoch, number, last.1, last.2, last.3, last.4, last.5
FROM (
    SELECT system, kind, source, epoch, number,
        argMax((begin, `end`, detail, known_at, position), (known_at, position)) AS last
    FROM hearing GROUP BY system, kind, source, epoch, number
);
