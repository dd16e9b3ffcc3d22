DELETE FROM store.alternative WHERE child_id IN (SELECT unnest($node_ids::VARCHAR[]))
