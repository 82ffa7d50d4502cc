global_position > (SELECT kept_position FROM reached)
    AND global_position <= (SELECT position FROM reached)
