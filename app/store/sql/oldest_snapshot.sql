-- Purpose: what keeps vacuum from removing rows that are dead: the oldest snapshot or transaction
--   id that somebody still needs, and who (https://www.postgresql.org/docs/16/routine-vacuuming.html).
-- Parameters: none.
-- Rows: kind ('transaction', 'prepared transaction', 'standby' or 'replication slot'), name (the
--   gid of a prepared transaction, the name of a slot, else null), pid (null: it has no backend),
--   application_name, user_name, client_address, state, started_at (of the transaction, or when it
--   was prepared; null: not known), age_seconds (since then), xid_age (in transactions). What the
--   role may not see of another one's backend is null.
-- Zero rows: nobody needs any but this statement.
-- Index: none of ours.
SELECT kind, name, pid, application_name, user_name, host(client_address) AS client_address, state,
       to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS started_at,
       extract(epoch FROM clock_timestamp() - started_at)::float8 AS age_seconds,
       xid_age::bigint AS xid_age
FROM (
  -- A standby that sends back what it needs is in the list of backends, too.
  SELECT CASE backend_type WHEN 'walsender' THEN 'standby' ELSE 'transaction' END AS kind,
         NULL::text AS name, pid, application_name, usename::text AS user_name,
         client_addr AS client_address, state, xact_start AS started_at,
         greatest(age(backend_xmin), age(backend_xid)) AS xid_age
  FROM pg_stat_activity
  WHERE (datname = current_database() OR backend_type = 'walsender') AND pid <> pg_backend_pid()
    AND backend_type IS DISTINCT FROM 'autovacuum worker'
    AND backend_type IS DISTINCT FROM 'parallel worker'
  UNION ALL
  SELECT 'prepared transaction', gid, NULL, NULL, owner::text, NULL, 'prepared', prepared,
         age(transaction)
  FROM pg_prepared_xacts WHERE database = current_database()
  UNION ALL
  SELECT 'replication slot', slot_name::text, active_pid, NULL, NULL, NULL,
         CASE WHEN active THEN 'active' ELSE 'inactive' END, NULL,
         greatest(age(xmin), age(catalog_xmin))
  FROM pg_replication_slots
) AS holder
WHERE xid_age IS NOT NULL
ORDER BY xid_age DESC, started_at
LIMIT 1
