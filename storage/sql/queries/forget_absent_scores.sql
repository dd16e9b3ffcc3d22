-- Scores of revisions that are no longer what the index holds.
DELETE FROM store.adapter_score
WHERE (adapter_id, adapter_revision) NOT IN (SELECT hub_id, revision FROM store.fingerprint)
    OR (base_id, base_revision) NOT IN (SELECT hub_id, revision FROM store.fingerprint)
