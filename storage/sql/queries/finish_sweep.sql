UPDATE store.sweep SET finished = TRUE, next_cursor = NULL, finished_at = $finished_at WHERE sweep_id = $sweep_id
