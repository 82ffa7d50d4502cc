coalesce((SELECT max(live.version) FROM ONLY events AS live
          WHERE live.aggregate_type = {0} AND live.aggregate_id = {1}),
         (SELECT archived.version FROM archived_aggregates AS archived
          WHERE archived.aggregate_type = {0} AND archived.aggregate_id = {1}), 0)
