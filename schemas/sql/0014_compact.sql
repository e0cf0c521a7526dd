-- One file for all columns of a part, up to 1 GB of it: a row is found by its name far more often than columns are scanned, and to
-- open and unpack a file for each of 27 columns was a third of what a verdict's lookup took (6.8 ms among 3M, so 4.5; a thousand of
-- them 0.36 s, so 0.23; a thousand among 1M, where nearly every granule is read, 0.19 and 0.20). A scan of one column takes twice as
-- long (31 ms among 3M, so 77).
ALTER TABLE verdicts{on_cluster} MODIFY SETTING min_bytes_for_wide_part = 1073741824;

ALTER TABLE flips{on_cluster} MODIFY SETTING min_bytes_for_wide_part = 1073741824;

ALTER TABLE keys{on_cluster} MODIFY SETTING min_bytes_for_wide_part = 1073741824;

ALTER TABLE keys_by_transaction{on_cluster} MODIFY SETTING min_bytes_for_wide_part = 1073741824;
