-- Purpose: how large tables are, and how VACUUM keeps up with them.
-- Parameters: $1 names of tables, $2 the lock_timeout of this transaction.
-- Rows: table_name, row_bytes (with the maps of free space and visibility), toast_bytes,
--   index_bytes, rows and dead_rows (estimates), xid_age; by table_name. A table that inherits, at
--   however many removes, and is not named itself counts to the nearest one that is.
-- Zero rows: none of them exists.
-- Index: none of ours; looks at the catalogs and at the sizes of files, not at rows.
WITH RECURSIVE named AS (
  -- Found as in any other statement, by the search path; a name that is not there is null.
  SELECT name AS table_name, to_regclass(quote_ident(name))::oid AS oid
  FROM unnest($1::text[]) AS name
  WHERE set_config('lock_timeout', $2, true) IS NOT NULL
),
tables AS (
  SELECT table_name, oid FROM named WHERE oid IS NOT NULL
  UNION ALL
  SELECT tables.table_name, inhrelid
  FROM tables JOIN pg_inherits ON inhparent = tables.oid
  WHERE inhrelid NOT IN (SELECT oid FROM named WHERE oid IS NOT NULL)
)
SELECT table_name,
       -- Null of a table that was dropped a moment ago.
       sum(pg_table_size(class.oid) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0))
         ::bigint AS row_bytes,
       coalesce(sum(pg_total_relation_size(nullif(reltoastrelid, 0))), 0)::bigint AS toast_bytes,
       sum(pg_indexes_size(class.oid))::bigint AS index_bytes,
       -- -1 before the first VACUUM or ANALYZE.
       sum(greatest(reltuples, 0))::bigint AS rows,
       sum(pg_stat_get_dead_tuples(class.oid))::bigint AS dead_rows,
       max(age(relfrozenxid)) AS xid_age
FROM tables JOIN pg_class AS class USING (oid)
GROUP BY table_name
ORDER BY table_name
