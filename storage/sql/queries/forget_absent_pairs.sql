-- Evidence and places of models that are not in the index any more.
DELETE FROM store.pair
WHERE left_id NOT IN (SELECT hub_id FROM store.fingerprint) OR right_id NOT IN (SELECT hub_id FROM store.fingerprint)
