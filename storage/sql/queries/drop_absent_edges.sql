-- Edges of what is neither a model in the index nor a ghost.
DELETE FROM store.edge
WHERE child_id NOT IN (SELECT hub_id FROM store.fingerprint UNION ALL SELECT ghost_id FROM store.ghost)
    OR parent_id NOT IN (SELECT hub_id FROM store.fingerprint UNION ALL SELECT ghost_id FROM store.ghost)
