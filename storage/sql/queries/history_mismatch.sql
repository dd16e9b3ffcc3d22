SELECT coalesce(e.parent_id || ' -> ' || e.child_id, h.parent_id || ' -> ' || h.child_id)
FROM store.edge e
FULL JOIN (SELECT * FROM store.edge_history WHERE valid_to_run IS NULL) h
    ON e.child_id = h.child_id AND e.parent_id = h.parent_id AND e.relation = h.relation AND e.confidence = h.confidence
        AND e.evidence = h.evidence AND e.weight = h.weight AND e.support IS NOT DISTINCT FROM h.support AND e.details = h.details
        AND e.is_heaviest = h.is_heaviest
WHERE e.child_id IS NULL OR h.child_id IS NULL
ORDER BY ALL
