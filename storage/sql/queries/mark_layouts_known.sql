DELETE FROM store.without_layout WHERE hub_id IN (SELECT unnest($hub_ids::VARCHAR[]))
