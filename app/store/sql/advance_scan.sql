-- Purpose: remember how far a type has been looked at once more.
-- Parameters: $1 aggregate_type, $2 the request that it was for, $3 the last aggregate_id that has
--   been looked at; null: all have.
-- Rows: aggregate_type.
-- Zero rows: there is a newer request, which begins anew.
-- Index: snapshot_scans_pkey.
WITH finished AS (
  DELETE FROM snapshot_scans WHERE aggregate_type = $1 AND request = $2 AND $3::varchar IS NULL
  RETURNING aggregate_type
), advanced AS (
  UPDATE snapshot_scans SET after_id = $3
  WHERE aggregate_type = $1 AND request = $2 AND $3::varchar IS NOT NULL
  RETURNING aggregate_type
)
SELECT aggregate_type FROM finished UNION ALL SELECT aggregate_type FROM advanced
