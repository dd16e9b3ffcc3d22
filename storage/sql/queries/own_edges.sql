-- From whom every node of a cluster comes inside it, the heaviest alone.
SELECT e.child_id, e.parent_id, e.relation
FROM (SELECT * FROM store.edge WHERE NOT is_graft UNION ALL SELECT * FROM store.replaced_edge) e
JOIN store.own_place o ON o.node_id = e.child_id
WHERE o.cluster_id = $cluster_id AND e.is_heaviest
ORDER BY e.child_id
