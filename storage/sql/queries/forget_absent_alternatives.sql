-- A second-best parent is one within the cluster.
DELETE FROM store.alternative
WHERE child_id IN (
    SELECT a.child_id
    FROM store.alternative a
    LEFT JOIN store.place c ON c.node_id = a.child_id
    LEFT JOIN store.place p ON p.node_id = a.parent_id
    WHERE c.cluster_id IS DISTINCT FROM p.cluster_id OR c.cluster_id IS NULL
)
