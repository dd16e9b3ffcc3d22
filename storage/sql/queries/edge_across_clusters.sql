SELECT e.parent_id || ' -> ' || e.child_id
FROM store.edge e
JOIN store.member p ON p.hub_id = e.parent_id
JOIN store.member c ON c.hub_id = e.child_id
WHERE p.cluster_id <> c.cluster_id
ORDER BY ALL
