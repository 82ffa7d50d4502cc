event_id::text, aggregate_type, aggregate_id, version, event_type,
CASE WHEN pg_column_size(event_data) <= 2000 AND coalesce(pg_column_size(metadata), 0) <= 2000
     THEN event_data::text END AS event_data,
CASE WHEN pg_column_size(metadata) <= 2000 THEN metadata::text END AS metadata,
to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at,
correlation_id::text, causation_id::text, global_position
