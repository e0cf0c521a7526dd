-- Every value by which a transaction can be found, by value first: people paste a number and know no key type. The earliest
-- seen_at is kept, whatever the order of writing.
CREATE TABLE IF NOT EXISTS keys{on_cluster}
(
    key_type         LowCardinality(String),
    value            String,
    transaction_type LowCardinality(String),
    transaction_id   String,
    seen_at          SimpleAggregateFunction(min, DateTime64(6, 'UTC'))
)
ENGINE = {aggregating}
ORDER BY (value, key_type, transaction_type, transaction_id)
SETTINGS index_granularity = 1024, {durable};

-- The same, by transaction. A bloom index on the table above took 30 to 45 ms among 10M, a table of its own takes 7.
CREATE TABLE IF NOT EXISTS keys_by_transaction{on_cluster}
(
    key_type         LowCardinality(String),
    value            String,
    transaction_type LowCardinality(String),
    transaction_id   String,
    seen_at          SimpleAggregateFunction(min, DateTime64(6, 'UTC'))
)
ENGINE = {aggregating}
ORDER BY (transaction_type, transaction_id, key_type, value)
SETTINGS index_granularity = 1024, {durable};

CREATE MATERIALIZED VIEW IF NOT EXISTS keys_to_transaction{on_cluster} TO keys_by_transaction AS
SELECT key_type, value, transaction_type, transaction_id, seen_at FROM keys;
