DELETE FROM store.pair
WHERE left_id IN (SELECT unnest($hub_ids::VARCHAR[])) OR right_id IN (SELECT unnest($hub_ids::VARCHAR[]))
