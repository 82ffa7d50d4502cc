event_id::text, aggregate_type, aggregate_id, version, event_type, event_data::text, metadata::text,
to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at,
correlation_id::text, causation_id::text, global_position
