DELETE FROM store.moment WHERE hub_id NOT IN (SELECT hub_id FROM store.fingerprint)
