reached AS MATERIALIZED (
  -- The rest is counted now if it is small.
  SELECT position AS kept_position,
         CASE WHEN $1::bigint - position BETWEEN 0 AND $2::bigint THEN $1 ELSE position END
           AS position
  FROM statistics_progress
)
