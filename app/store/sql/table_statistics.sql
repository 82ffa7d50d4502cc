-- Purpose: size, dead rows and vacuum of the store's tables; the tables that inherit from `events`
--   are added up under the name of the one that does so directly.
-- Parameters: $1 the names of the tables, in the schema that is found first; those that do not
--   exist are left out.
-- Rows: table_name, tables (how many were added up), rows and dead_rows (estimated by PostgreSQL),
--   table_bytes (with its maps), index_bytes, toast_bytes (with its index), last_vacuum and
--   last_analyze (by whom ever; null: of one of the tables never), vacuum_age_seconds (since then),
--   inserts_since_vacuum, dead_rows_trigger and inserts_trigger (how many make autovacuum come;
--   null: it never does for them), is_autovacuum_on, xid_age and multixact_age (of the oldest that
--   is not frozen, its TOAST table's too), freeze_max_age and multixact_freeze_max_age (at which
--   autovacuum comes against wraparound), failsafe_age; by table_name.
-- Zero rows: there is none of these tables.
-- Index: none of ours; PostgreSQL's catalogs and statistics
--   (https://www.postgresql.org/docs/16/routine-vacuuming.html).
WITH RECURSIVE named AS (
  SELECT to_regclass(quote_ident(name))::oid AS table_oid, name AS table_name
  FROM unnest($1::name[]) AS name
  WHERE to_regclass(quote_ident(name)) IS NOT NULL
), tree AS (
  SELECT table_oid, table_name FROM named
  UNION
  SELECT inhrelid, CASE WHEN table_name = 'events' THEN child.relname ELSE table_name END
  FROM tree JOIN pg_inherits ON inhparent = table_oid JOIN pg_class AS child ON child.oid = inhrelid
), described AS (
  SELECT table_name, main.oid, main.relkind, main.reltuples, main.reltoastrelid, stats.*,
         greatest(age(main.relfrozenxid), age(toast.relfrozenxid)) AS xid_age,
         greatest(mxid_age(main.relminmxid), mxid_age(toast.relminmxid)) AS multixact_age,
         (SELECT coalesce(jsonb_object_agg(option_name, option_value), '{}')
          FROM pg_options_to_table(main.reloptions)) AS options
  FROM tree JOIN pg_class AS main ON main.oid = table_oid
  LEFT JOIN pg_class AS toast ON toast.oid = main.reltoastrelid
  LEFT JOIN pg_stat_user_tables AS stats ON stats.relid = main.oid
), settled AS (
  -- What counts for each: its own storage parameter before the server's setting.
  SELECT described.*, size.*,
         coalesce(nullif(n_live_tup, 0), greatest(reltuples, 0)) AS live_rows,
         coalesce((options->>'autovacuum_vacuum_threshold')::float8,
                  current_setting('autovacuum_vacuum_threshold')::float8) AS threshold,
         coalesce((options->>'autovacuum_vacuum_scale_factor')::float8,
                  current_setting('autovacuum_vacuum_scale_factor')::float8) AS scale_factor,
         coalesce((options->>'autovacuum_vacuum_insert_threshold')::float8,
                  current_setting('autovacuum_vacuum_insert_threshold')::float8)
           AS insert_threshold,
         coalesce((options->>'autovacuum_vacuum_insert_scale_factor')::float8,
                  current_setting('autovacuum_vacuum_insert_scale_factor')::float8)
           AS insert_scale_factor,
         current_setting('autovacuum')::bool
           AND coalesce((options->>'autovacuum_enabled')::bool, true) AS is_autovacuum_on,
         least((options->>'autovacuum_freeze_max_age')::float8,
               current_setting('autovacuum_freeze_max_age')::float8) AS freeze_max_age,
         least((options->>'autovacuum_multixact_freeze_max_age')::float8,
               current_setting('autovacuum_multixact_freeze_max_age')::float8)
           AS multixact_freeze_max_age,
         greatest(last_vacuum, last_autovacuum) AS vacuumed_at,
         greatest(last_analyze, last_autoanalyze) AS analyzed_at
  FROM described CROSS JOIN LATERAL (
    SELECT pg_table_size(oid)
             - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0) AS table_bytes,
           pg_indexes_size(oid) AS index_bytes,
           coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0) AS toast_bytes
  ) AS size
)
SELECT table_name::text, count(*) AS tables,
       sum(live_rows)::bigint AS rows, sum(coalesce(n_dead_tup, 0))::bigint AS dead_rows,
       sum(table_bytes)::bigint AS table_bytes, sum(index_bytes)::bigint AS index_bytes,
       sum(toast_bytes)::bigint AS toast_bytes,
       to_char(CASE WHEN count(vacuumed_at) = count(*) THEN min(vacuumed_at) END
                 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS last_vacuum,
       to_char(CASE WHEN count(analyzed_at) = count(*) THEN min(analyzed_at) END
                 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS last_analyze,
       extract(epoch FROM clock_timestamp()
         - CASE WHEN count(vacuumed_at) = count(*) THEN min(vacuumed_at) END)::float8
         AS vacuum_age_seconds,
       sum(coalesce(n_ins_since_vacuum, 0))::bigint AS inserts_since_vacuum,
       sum(threshold + scale_factor * live_rows)::bigint AS dead_rows_trigger,
       CASE WHEN min(insert_threshold) >= 0
            THEN sum(insert_threshold + insert_scale_factor * live_rows)::bigint END
         AS inserts_trigger,
       bool_and(is_autovacuum_on) AS is_autovacuum_on,
       max(xid_age)::bigint AS xid_age, max(multixact_age)::bigint AS multixact_age,
       min(freeze_max_age)::bigint AS freeze_max_age,
       min(multixact_freeze_max_age)::bigint AS multixact_freeze_max_age,
       current_setting('vacuum_failsafe_age')::bigint AS failsafe_age
FROM settled
WHERE relkind = 'r'
GROUP BY table_name
ORDER BY table_name
