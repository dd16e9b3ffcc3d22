SELECT n.name
FROM store.edge e
JOIN store.place p ON p.node_id = e.parent_id
JOIN store.place c ON c.node_id = e.child_id
JOIN store.cluster k ON k.cluster_id = c.cluster_id
JOIN store.named n ON n.node_id = e.child_id
WHERE e.is_heaviest AND c.depth <> p.depth + 1 AND k.evidence <> 'none'
ORDER BY ALL
