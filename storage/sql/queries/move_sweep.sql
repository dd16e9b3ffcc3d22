UPDATE store.sweep SET next_cursor = $next_cursor WHERE sweep_id = $sweep_id
