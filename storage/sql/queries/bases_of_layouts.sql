-- Models that an adapter may have been made for, those nearest to the roots of their families first.
SELECT y.layout_id, o.cluster_id, y.hub_id, y.revision, l.repo_id, l.weight_files, c.size
FROM store.model_layout y
JOIN store.fingerprint f USING (hub_id, revision)
JOIN store.listed l USING (hub_id)
JOIN store.own_place o ON o.node_id = y.hub_id
JOIN store.cluster c USING (cluster_id)
WHERE y.layout_id IN (SELECT unnest($layout_ids::VARCHAR[])) AND NOT y.is_adapter AND c.evidence <> 'none'
ORDER BY c.size DESC, o.cluster_id, o.depth, y.hub_id
