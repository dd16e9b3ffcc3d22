UPDATE store.member SET depth = 0, root_posterior = 1.0 WHERE hub_id IN (SELECT unnest($hub_ids::VARCHAR[]))
