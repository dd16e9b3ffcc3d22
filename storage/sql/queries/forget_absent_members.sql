DELETE FROM store.member WHERE hub_id NOT IN (SELECT hub_id FROM store.fingerprint)
