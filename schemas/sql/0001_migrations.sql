-- What has been applied. {replacing}, {aggregating}, {durable} and {on_cluster} are expanded by pipeline/store/migrate.py, the one
-- place that names engines; every statement may be run again, by several at once.
CREATE TABLE IF NOT EXISTS migrations{on_cluster}
(
    name       String,
    digest     String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {replacing}
ORDER BY (name, digest)
SETTINGS {durable};
