(SELECT CASE WHEN isfinite(oldest.occurred_at)
             THEN extract(epoch FROM {1}::timestamptz - oldest.occurred_at)::float8 ELSE 0 END
 FROM (
   (SELECT live.occurred_at, live.global_position FROM ONLY events AS live
    WHERE live.global_position > last_processed_position AND live.global_position <= {0}
    ORDER BY live.global_position LIMIT 1)
   UNION ALL
   (SELECT archived.occurred_at, archived.global_position FROM events_archive AS archived
    WHERE archived.global_position > last_processed_position AND archived.global_position <= {0}
      -- By a subquery, which is looked at first: for most projections nothing there is read.
      AND last_processed_position < (SELECT position FROM archive_state)
    ORDER BY archived.global_position LIMIT 1)
   ORDER BY global_position LIMIT 1
 ) AS oldest)
