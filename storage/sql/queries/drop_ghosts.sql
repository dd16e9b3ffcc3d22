DELETE FROM store.ghost WHERE ghost_id IN (SELECT unnest($node_ids::VARCHAR[]))
