SELECT e.parent_id || ' -> ' || e.child_id
FROM store.edge e
WHERE e.child_id NOT IN (SELECT hub_id FROM store.fingerprint) OR e.parent_id NOT IN (SELECT hub_id FROM store.fingerprint)
ORDER BY ALL
