-- Purpose: the revision of the schema, and with it whether the database answers.
-- Parameters: none.
-- Rows: exactly one: revision (null: the database was migrated down to nothing), is_standby.
-- Zero rows: never.
-- Index: none; the table has one row.
SELECT (SELECT version_num FROM alembic_version) AS revision, pg_is_in_recovery() AS is_standby
