SELECT coalesce(live.version, archived.version) AS version,
       archived.version AS archived_version, archived.months AS archived_months
FROM (SELECT max(live.version) AS version FROM ONLY events AS live
      WHERE live.aggregate_type = {0} AND live.aggregate_id = {1}) AS live
LEFT JOIN archived_aggregates AS archived
  ON archived.aggregate_type = {0} AND archived.aggregate_id = {1}
