SELECT e.parent_id || ' -> ' || e.child_id
FROM store.edge e
JOIN store.place p ON p.node_id = e.parent_id
JOIN store.place c ON c.node_id = e.child_id
WHERE p.cluster_id <> c.cluster_id
ORDER BY ALL
