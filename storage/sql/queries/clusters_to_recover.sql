SELECT cluster_id, plan_id, size, 0::BIGINT AS stored_bytes
FROM store.cluster
WHERE evidence = 'none' AND size > 1
ORDER BY size, cluster_id
