SELECT ghost_id
FROM store.ghost
WHERE ghost_id NOT IN (SELECT parent_id FROM store.edge) OR cluster_id NOT IN (SELECT cluster_id FROM store.cluster)
ORDER BY ALL
