-- Only after a finished walk: while one is under way, models wait for their turn.
SELECT l.repo_id
FROM store.listed l
WHERE l.hub_id NOT IN (SELECT hub_id FROM store.fingerprint) AND l.hub_id NOT IN (SELECT hub_id FROM store.skip)
    AND NOT EXISTS (SELECT 1 FROM store.sweep WHERE NOT finished)
ORDER BY ALL
