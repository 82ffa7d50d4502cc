-- Purpose: the revision of the schema, and with it whether the database answers.
-- Parameters: none.
-- Rows: version_num.
-- Zero rows: the database was migrated down to nothing.
-- Index: none; the table has one row.
SELECT version_num FROM alembic_version
