UPDATE store.sweep SET finished = TRUE, next_cursor = NULL WHERE sweep_id = $sweep_id
