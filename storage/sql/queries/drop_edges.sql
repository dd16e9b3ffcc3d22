DELETE FROM store.edge WHERE child_id IN (SELECT unnest($hub_ids::VARCHAR[]))
