-- An edge that the history does not show as standing begins with this run.
INSERT INTO store.edge_history
SELECT
    e.child_id, e.parent_id, c.name, p.name, e.child_revision, e.parent_revision, e.relation, e.confidence, e.evidence, e.weight, e.support,
    e.details, e.is_heaviest, $run_id, NULL
FROM store.edge e
JOIN store.named c ON c.node_id = e.child_id
JOIN store.named p ON p.node_id = e.parent_id
WHERE NOT EXISTS (
    SELECT 1 FROM store.edge_history h WHERE h.valid_to_run IS NULL AND h.child_id = e.child_id AND h.parent_id = e.parent_id
)
RETURNING child_id
