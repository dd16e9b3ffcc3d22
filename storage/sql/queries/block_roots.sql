-- The root of every recovered cluster that is a model with blocks of its own, those of large clusters first.
SELECT
    o.cluster_id, y.hub_id, y.revision, l.repo_id, l.weight_files, y.layout_id, f.plan_id, f.file_name, f.row_number, f.parameters,
    l.created_at, o.depth
FROM store.own_place o
JOIN store.cluster c USING (cluster_id)
JOIN store.model_layout y ON y.hub_id = o.node_id
JOIN store.fingerprint f USING (hub_id, revision)
JOIN store.listed l USING (hub_id)
WHERE o.depth = 0 AND c.evidence <> 'none' AND NOT y.is_adapter
ORDER BY c.size DESC, o.cluster_id
