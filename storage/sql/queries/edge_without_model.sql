SELECT e.parent_id || ' -> ' || e.child_id
FROM store.edge e
WHERE e.child_id NOT IN (SELECT hub_id FROM store.fingerprint UNION ALL SELECT ghost_id FROM store.ghost)
    OR e.parent_id NOT IN (SELECT hub_id FROM store.fingerprint UNION ALL SELECT ghost_id FROM store.ghost)
ORDER BY ALL
