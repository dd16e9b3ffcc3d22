UPDATE store.run SET finished_at = $finished_at, status = $status, counts = $counts WHERE run_id = $run_id
