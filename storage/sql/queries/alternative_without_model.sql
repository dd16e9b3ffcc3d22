SELECT a.parent_id || ' -> ' || a.child_id
FROM store.alternative a
LEFT JOIN store.place c ON c.node_id = a.child_id
LEFT JOIN store.place p ON p.node_id = a.parent_id
WHERE c.cluster_id IS NULL OR p.cluster_id IS NULL
ORDER BY ALL
