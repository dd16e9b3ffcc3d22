SELECT coalesce(max(sweep_id), 0) FROM store.sweep
