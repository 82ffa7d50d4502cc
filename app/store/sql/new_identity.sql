-- Purpose: make the store another one to its consumers, after it was restored to an earlier point.
-- Parameters: none.
-- Rows: exactly one: store_id, the new one.
-- Zero rows: never.
-- Index: none; the table has one row.
UPDATE store_identity SET store_id = gen_random_uuid() RETURNING store_id::text
