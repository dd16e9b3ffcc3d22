INSERT INTO store.replaced_edge SELECT * FROM store.edge WHERE child_id IN (SELECT unnest($node_ids::VARCHAR[]))
