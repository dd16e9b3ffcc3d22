DELETE FROM store.member WHERE cluster_id IN (SELECT unnest($cluster_ids::VARCHAR[]))
