-- An edge between models that are in different clusters now is wrong; the others stand until their cluster is recovered.
DELETE FROM store.edge
WHERE child_id IN (
    SELECT e.child_id
    FROM store.edge e
    JOIN store.place c ON c.node_id = e.child_id
    JOIN store.place p ON p.node_id = e.parent_id
    WHERE c.cluster_id <> p.cluster_id
)
