-- Adapters whose cluster waits for recovery, or is one that does, are placed again after it.
DELETE FROM store.edge
WHERE relation = 'adapter' AND child_id NOT IN (
    SELECT o.node_id FROM store.own_place o JOIN store.cluster c USING (cluster_id) WHERE c.evidence <> 'none' AND o.depth = 0
)
