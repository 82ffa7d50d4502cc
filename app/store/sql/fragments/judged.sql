(SELECT CASE WHEN batches > 0
             THEN set_config('eventstore.judged', batches::text || statement_timestamp()::text, true)
             ELSE '' END
 FROM archive_state)
