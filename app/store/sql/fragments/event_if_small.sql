event_id, aggregate_type, aggregate_id, version, event_type,
CASE WHEN octet_length(event_data) <= 4096 AND coalesce(octet_length(metadata), 0) <= 4096
     THEN event_data END AS event_data,
CASE WHEN octet_length(metadata) <= 4096 THEN metadata END AS metadata,
occurred_at, correlation_id, causation_id, global_position
