-- The first adapter of every recovered cluster of adapters; of one whose root is missing, those made from it, as `hub_id`.
WITH top AS (
    SELECT o.cluster_id, o.node_id AS root_id, o.node_id AS hub_id
    FROM store.own_place o
    WHERE o.depth = 0 AND NOT o.is_ghost
    UNION ALL
    SELECT o.cluster_id, o.node_id, e.child_id
    FROM store.own_place o
    JOIN store.edge e ON e.parent_id = o.node_id
    WHERE o.depth = 0 AND o.is_ghost
)
SELECT
    t.root_id, y.hub_id, y.revision, y.layout_id, f.plan_id, f.file_name, f.row_number,
    CASE WHEN len(l.declared_bases) > 0 OR y.configured_base IS NULL THEN l.declared_bases ELSE [y.configured_base] END AS declared
FROM top t
JOIN store.cluster c USING (cluster_id)
JOIN store.model_layout y USING (hub_id)
JOIN store.fingerprint f USING (hub_id, revision)
JOIN store.listed l USING (hub_id)
WHERE c.evidence <> 'none' AND y.is_adapter
ORDER BY t.root_id, y.hub_id
