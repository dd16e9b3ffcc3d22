SELECT c.cluster_id
FROM store.cluster c
JOIN store.place m USING (cluster_id)
WHERE c.evidence <> 'none'
GROUP BY c.cluster_id
HAVING count(*) FILTER (m.node_id NOT IN (SELECT child_id FROM store.edge)) <> 1 OR count(*) FILTER (m.depth = 0) <> 1
ORDER BY ALL
