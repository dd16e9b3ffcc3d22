INSERT INTO store.sweep (sweep_id, next_cursor, finished) SELECT coalesce(max(sweep_id), 0) + 1, NULL, FALSE FROM store.sweep RETURNING sweep_id
