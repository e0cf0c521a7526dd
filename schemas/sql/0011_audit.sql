-- Running numbers whose event is no row of events, kept or quarantine (any more), in ranges: why, and since when. The audit counts
-- them as found. Ranges may overlap and be written again.
CREATE TABLE IF NOT EXISTS accounts{on_cluster}
(
    source String,
    epoch  Int64,
    how    LowCardinality(String) COMMENT 'expired, forgotten, repeated: the same observation is stored under another number',
    first  Int64,
    last   Int64 COMMENT 'included',
    at     DateTime64(6, 'UTC') COMMENT 'when that was found'
)
ENGINE = {replacing}
ORDER BY (source, epoch, how, first, last)
SETTINGS {durable};

-- So that what made no event is counted by the numbers that its source gave it.
ALTER TABLE quarantine{on_cluster} ADD COLUMN IF NOT EXISTS numbers Array(Int64) CODEC(Delta, ZSTD(1)) COMMENT 'running numbers';

ALTER TABLE sources{on_cluster}
    ADD COLUMN IF NOT EXISTS owed Int64 COMMENT 'every running number up to it must be found: settled',
    ADD COLUMN IF NOT EXISTS numbered Bool COMMENT 'the source says so itself; else it is what it says it sent',
    ADD COLUMN IF NOT EXISTS shed_ranges Array(Tuple(Int64, Int64)) COMMENT 'running numbers: first, last';
