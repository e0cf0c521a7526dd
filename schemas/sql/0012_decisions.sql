-- A person's word on whose an alias is: who said it, and why.
ALTER TABLE links{on_cluster}
    ADD COLUMN IF NOT EXISTS who String COMMENT 'of a decision',
    ADD COLUMN IF NOT EXISTS why String COMMENT 'of a decision' CODEC(ZSTD(1));
