UPDATE store.sweep SET mark = $mark WHERE sweep_id = $sweep_id
