SELECT n.name
FROM store.edge e
JOIN store.named n ON n.node_id = e.child_id
GROUP BY e.child_id, n.name
HAVING count(*) FILTER (e.is_heaviest) <> 1 OR max(e.weight) > max(e.weight) FILTER (e.is_heaviest)
ORDER BY ALL
