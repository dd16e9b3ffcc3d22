-- The members of a recovered cluster, those nearest to its root first.
SELECT
    o.cluster_id, y.hub_id, y.revision, l.repo_id, l.weight_files, y.layout_id, f.plan_id, f.file_name, f.row_number, f.parameters,
    l.created_at, o.depth
FROM store.own_place o
JOIN store.model_layout y ON y.hub_id = o.node_id
JOIN store.fingerprint f USING (hub_id, revision)
JOIN store.listed l USING (hub_id)
WHERE o.cluster_id = $cluster_id
ORDER BY o.depth, y.hub_id
