-- When a source itself was not heard: beside what that means for its systems, for `lastseen sources`.
ALTER TABLE sources{on_cluster}
    ADD COLUMN IF NOT EXISTS blind Array(Tuple(Int64, Int64)) COMMENT 'µs, begin and end; the end is 2^62 while it lasts';
