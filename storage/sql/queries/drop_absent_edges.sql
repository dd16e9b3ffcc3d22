DELETE FROM store.edge
WHERE child_id NOT IN (SELECT hub_id FROM store.fingerprint) OR parent_id NOT IN (SELECT hub_id FROM store.fingerprint)

