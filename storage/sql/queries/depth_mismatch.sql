SELECT l.repo_id
FROM store.edge e
JOIN store.member p ON p.hub_id = e.parent_id
JOIN store.member c ON c.hub_id = e.child_id
JOIN store.cluster k ON k.cluster_id = c.cluster_id
JOIN store.listed l ON l.hub_id = e.child_id
WHERE c.depth <> p.depth + 1 AND k.evidence <> 'none'
ORDER BY ALL
