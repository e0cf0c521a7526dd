-- Sources and what was heard of systems, as the fold of control has them. Times that may be "never" or "for ever" (±2^62) are
-- plain µs since 1970; DateTime64 would show them as something else.
-- ReplacingMergeTree takes no tuple as version: control time and offset are packed into one number.
CREATE TABLE IF NOT EXISTS sources{on_cluster}
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
ENGINE = {replacing}(version)
ORDER BY (source, epoch)
SETTINGS {durable};

-- All that was ever known stays: a later judge asks what was known then (law 7).
CREATE TABLE IF NOT EXISTS hearing{on_cluster}
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
ENGINE = {replacing}
ORDER BY (system, kind, source, epoch, number, known_at, position)
SETTINGS {durable};
