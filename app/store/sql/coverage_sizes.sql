-- Purpose: how many rows snapshot_coverage.sql would have to look at, about.
-- Parameters: $1 up to how many are counted.
-- Rows: exactly one: snapshots and due, counted up to $1; beyond, as PostgreSQL estimates them, but
--   never less than $1.
-- Zero rows: never.
-- Index: none of which it would matter.
SELECT CASE WHEN snapshots < $1 THEN snapshots
            ELSE greatest($1, (SELECT greatest(reltuples::bigint, pg_stat_get_live_tuples(oid))
                               FROM pg_class WHERE oid = 'snapshots'::regclass)) END AS snapshots,
       CASE WHEN due < $1 THEN due
            ELSE greatest($1, (SELECT greatest(reltuples::bigint, pg_stat_get_live_tuples(oid))
                               FROM pg_class WHERE oid = 'snapshots_due'::regclass)) END AS due
FROM (SELECT (SELECT count(*) FROM (SELECT FROM snapshots LIMIT $1::bigint) AS rows) AS snapshots,
             (SELECT count(*) FROM (SELECT FROM snapshots_due LIMIT $1) AS rows) AS due) AS counted
