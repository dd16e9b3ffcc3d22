DELETE FROM store.cluster WHERE cluster_id IN (SELECT unnest($cluster_ids::VARCHAR[]))
