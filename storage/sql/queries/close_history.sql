-- An edge that does not stand as it did ends with this run.
UPDATE store.edge_history h SET valid_to_run = $run_id
WHERE valid_to_run IS NULL AND NOT EXISTS (
    SELECT 1 FROM store.edge e
    WHERE e.child_id = h.child_id AND e.parent_id = h.parent_id
        AND e.child_revision IS NOT DISTINCT FROM h.child_revision AND e.parent_revision IS NOT DISTINCT FROM h.parent_revision
        AND e.relation = h.relation AND e.confidence = h.confidence AND e.evidence = h.evidence AND e.weight = h.weight
        AND e.support IS NOT DISTINCT FROM h.support AND e.details = h.details AND e.is_heaviest = h.is_heaviest
)
RETURNING child_id
