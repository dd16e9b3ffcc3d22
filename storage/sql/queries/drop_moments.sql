DELETE FROM store.moment WHERE hub_id IN (SELECT unnest($hub_ids::VARCHAR[]))
