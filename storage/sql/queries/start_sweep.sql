INSERT INTO store.sweep SELECT coalesce(max(sweep_id), 0) + 1, NULL, FALSE FROM store.sweep RETURNING sweep_id
