-- Rows of revisions that are no longer what the index holds, or of plans that no model is sampled by.
DELETE FROM store.block_reading
WHERE (hub_id, revision) NOT IN (SELECT hub_id, revision FROM store.fingerprint) OR plan_id NOT IN (SELECT plan_id FROM store.fingerprint)
