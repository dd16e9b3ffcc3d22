DELETE FROM store.edge WHERE child_id IN (SELECT unnest($node_ids::VARCHAR[]))
