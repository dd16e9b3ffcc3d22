-- An edge that the history does not show as standing begins with this run.
INSERT INTO store.edge_history
SELECT
    e.child_id, e.parent_id, c.repo_id, p.repo_id, e.child_revision, e.parent_revision, e.relation, e.confidence, e.evidence, $run_id, NULL
FROM store.edge e
JOIN store.listed c ON c.hub_id = e.child_id
JOIN store.listed p ON p.hub_id = e.parent_id
WHERE e.child_id NOT IN (SELECT child_id FROM store.edge_history WHERE valid_to_run IS NULL)
RETURNING child_id
